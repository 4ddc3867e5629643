//! The store: whether it opens, whether its tables are those of this version, and whether its volume has room.

use std::path::Path;

use super::context::Context;
use super::environment::Vantage;
use super::finding::Finding;
use super::probe::within;
use crate::store;

const STORE: &str = "store";
const STORE_SPACE: &str = "store-space";
/// Fewer per cent of free space are too few.
const FEW_PER_CENT: u64 = 10;

/// `given` is `--store` of this command.
pub(super) async fn check(ctx: &Context, given: Option<&str>) -> Vec<Finding> {
    let flags = ctx.flags();
    let address = match (given, flags) {
        (Some(given), _) => given,
        (None, Some(flags)) => flags.run.store.store.as_str(),
        (None, None) => return vec![Finding::skipped(STORE, "", ctx.flags_unknown())],
    };
    if given.is_none() && ctx.environment.vantage == Vantage::Elsewhere {
        let why = match flags.and_then(|flags| flags.store_secret.as_deref()) {
            Some(secret) => format!("its address is in {secret}"),
            None => "it is in the Pod".to_owned(),
        };
        return vec![Finding::skipped(STORE, "", why).with_fix(ctx.environment.exec_line())];
    }
    let mut findings = vec![inspect(ctx, address).await];
    if let Some(path) = store::sqlite_path(address)
        && path.is_file()
    {
        findings.push(check_space(path));
    }
    findings
}

async fn inspect(ctx: &Context, address: &str) -> Finding {
    let state = match within(ctx.timeout, store::inspect(address)).await {
        Ok(state) => state,
        Err(why) => {
            return Finding::failure(STORE, "", why)
                .with_fix("mend it as it says: no operator starts on it before");
        }
    };
    let (found, current) = (state.schema_version, state.current_version);
    if found == current {
        Finding::ok(
            STORE,
            "",
            format!("it opens, and its tables are of version {found}"),
        )
    } else {
        let message = format!(
            "its tables are of version {found}, those of this program of {current}: the operator that made them is older, or has not started yet"
        );
        Finding::warning(STORE, "", message).with_fix(
            "they are upgraded when the operator of this version starts (docs/upgrade.md)",
        )
    }
}

fn check_space(path: &Path) -> Finding {
    match rustix::fs::statvfs(path) {
        Ok(volume) => {
            let used = volume.f_blocks.saturating_sub(volume.f_bfree);
            judge_space(volume.f_bavail, used, path)
        }
        Err(error) => Finding::skipped(STORE_SPACE, "", error),
    }
}

/// As `df` counts: what only root may use belongs to neither.
fn judge_space(free: u64, used: u64, path: &Path) -> Finding {
    let all = free.saturating_add(used);
    let per_cent = free.saturating_mul(100).checked_div(all).unwrap_or(100);
    let message = format!("{per_cent} % of the volume of {} are free", path.display());
    if per_cent < FEW_PER_CENT {
        Finding::warning(STORE_SPACE, "", message).with_fix(
            "enlarge the volume, or keep denied conversations for fewer days (docs/sizing.md)",
        )
    } else {
        Finding::ok(STORE_SPACE, "", message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_volume_is_told_below_ten_per_cent() {
        let level = |free| {
            judge_space(free, 1000 - free, Path::new("/data/c.db"))
                .level
                .word()
        };
        assert_eq!((level(99), level(100)), ("WARN", "ok"));
        assert_eq!(
            judge_space(0, 0, Path::new("/data/c.db")).level.word(),
            "ok"
        );
    }
}
