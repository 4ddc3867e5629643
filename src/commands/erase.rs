//! The command `erase`: what the store keeps of a person goes, of all kinds and namespaces.

use anyhow::Result;

use super::listings::open_store;
use crate::cli::EraseArgs;
use crate::store::ErasedCounts;

/// Erases and says what.
///
/// # Errors
/// The store's.
pub async fn erase(args: EraseArgs) -> Result<()> {
    let store = open_store(&args.store.store).await?;
    let erased = store.erase(args.user, args.namespace.as_deref()).await?;
    print!("{}", report(args.user, erased));
    Ok(())
}

/// What went, a kind a line.
fn report(user: i64, erased: ErasedCounts) -> String {
    let ErasedCounts {
        denied_messages,
        conversations,
        exchanges,
        dead_letters,
        waiting,
        others,
    } = erased;
    if erased.total() == 0 {
        return format!("nothing is kept of user {user}\n");
    }
    let lines = [
        ("denied messages", denied_messages),
        ("conversations", conversations),
        ("questions with their answers", exchanges),
        ("dead letters", dead_letters),
        ("messages and replies that waited", waiting),
        ("other entries", others),
    ];
    let erased: Vec<String> = lines
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(what, count)| format!("  {count} {what}\n"))
        .collect();
    format!("erased of user {user}:\n{}", erased.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_names_the_kinds_that_went() {
        let erased = ErasedCounts {
            exchanges: 3,
            ..ErasedCounts::default()
        };
        assert_eq!(
            report(5001, erased),
            "erased of user 5001:\n  3 questions with their answers\n"
        );
        let nothing = report(5001, ErasedCounts::default());
        assert_eq!(nothing, "nothing is kept of user 5001\n");
    }
}
