//! Decides which list entries change when a user is allowed or denied: pure functions over the lists of a connector's access level.

use crate::api::UserRef;
use crate::api::user_list::UserEntry;

/// Where list entries are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserListLocation {
    /// In the connector.
    Inline,
    /// In the `TelegramUserList` of this name.
    List(String),
}

/// The lists that decide at a connector's access level: its own entries, and those of the lists it refers to.
#[derive(Debug, Clone, Default)]
pub struct DecidingLists {
    /// The connector's own entries.
    pub inline: Vec<UserEntry>,
    /// Referenced lists in their order; `None` for one that does not exist.
    pub lists: Vec<(String, Option<Vec<UserEntry>>)>,
}

/// The new content of one list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListEdit {
    /// Which list is changed.
    pub location: UserListLocation,
    /// The entries that are added or removed, with their positions.
    pub entries: Vec<(usize, UserEntry)>,
    /// All entries after the change.
    pub after: Vec<UserEntry>,
}

/// Why no change can be decided; the caller adds the objects' names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeError {
    /// Several lists are referenced, and none was chosen.
    AmbiguousList(Vec<String>),
    /// The connector does not refer to a list of this name.
    ListNotReferenced(String),
    /// The list does not exist.
    ListNotFound(String),
    /// No entry has the username, but entries by id could be the user's, who may still have access.
    OnlyIdEntries(usize),
}

impl DecidingLists {
    fn entries(&self) -> impl Iterator<Item = (UserListLocation, &[UserEntry])> {
        let lists = self.lists.iter().filter_map(|(name, users)| {
            Some((UserListLocation::List(name.clone()), users.as_deref()?))
        });
        std::iter::once((UserListLocation::Inline, self.inline.as_slice())).chain(lists)
    }

    /// Adds a user: `Ok(Err(location))` if there is an entry already. Inline entries take precedence over a single list; `list` chooses one.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub fn allow(
        &self,
        user: &UserRef,
        note: Option<&str>,
        list: Option<&str>,
    ) -> Result<Result<ListEdit, UserListLocation>, ChangeError> {
        if let Some((location, _)) = self
            .entries()
            .find(|(_, entries)| entries.iter().any(|e| user.is_in(e)))
        {
            return Ok(Err(location));
        }
        let location = self.target_list(list)?;
        let before = match &location {
            UserListLocation::Inline => &self.inline,
            UserListLocation::List(name) => self
                .lists
                .iter()
                .find(|(n, _)| n == name)
                .and_then(|(_, users)| users.as_ref())
                .ok_or_else(|| ChangeError::ListNotFound(name.clone()))?,
        };
        let entry = user.entry(note);
        let mut after = before.clone();
        after.push(entry.clone());
        Ok(Ok(ListEdit {
            location,
            entries: vec![(before.len(), entry)],
            after,
        }))
    }

    fn target_list(&self, list: Option<&str>) -> Result<UserListLocation, ChangeError> {
        match (list, self.lists.as_slice()) {
            (Some(wanted), lists) => lists
                .iter()
                .find(|(name, _)| name == wanted)
                .map(|(name, _)| UserListLocation::List(name.clone()))
                .ok_or_else(|| ChangeError::ListNotReferenced(wanted.to_owned())),
            (None, _) if !self.inline.is_empty() => Ok(UserListLocation::Inline),
            (None, []) => Ok(UserListLocation::Inline),
            (None, [(only, _)]) => Ok(UserListLocation::List(only.clone())),
            (None, several) => Err(ChangeError::AmbiguousList(
                several.iter().map(|(name, _)| name.clone()).collect(),
            )),
        }
    }

    /// Removes a user: one edit for each list with an entry of theirs; none without such a list.
    ///
    /// # Errors
    /// [`ChangeError::OnlyIdEntries`], where "denied already" would be a guess.
    pub fn deny(&self, user: &UserRef) -> Result<Vec<ListEdit>, ChangeError> {
        let edits: Vec<ListEdit> = self
            .entries()
            .filter_map(|(location, entries)| {
                let (gone, after): (Vec<_>, Vec<_>) = entries
                    .iter()
                    .cloned()
                    .enumerate()
                    .partition(|(_, entry)| user.is_in(entry));
                (!gone.is_empty()).then(|| ListEdit {
                    location,
                    entries: gone,
                    after: after.into_iter().map(|(_, entry)| entry).collect(),
                })
            })
            .collect();
        let ids = self.count(|e| e.id.is_some());
        if edits.is_empty() && ids > 0 && matches!(user, UserRef::Username(_)) {
            return Err(ChangeError::OnlyIdEntries(ids));
        }
        Ok(edits)
    }

    /// The number of entries by username: whoever has such a username has access, whatever their id.
    pub fn username_entry_count(&self) -> usize {
        self.count(|e| e.username.is_some())
    }

    fn count(&self, of: impl Fn(&UserEntry) -> bool) -> usize {
        self.entries()
            .flat_map(|(_, entries)| entries)
            .filter(|entry| of(entry))
            .count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(id: i64) -> UserEntry {
        UserRef::Id(id).entry(None)
    }

    fn named(username: &str) -> UserEntry {
        UserRef::Username(username.to_owned()).entry(None)
    }

    fn deciding(inline: &[UserEntry], lists: &[(&str, &[UserEntry])]) -> DecidingLists {
        DecidingLists {
            inline: inline.to_vec(),
            lists: lists
                .iter()
                .map(|(name, users)| ((*name).to_owned(), Some(users.to_vec())))
                .collect(),
        }
    }

    #[test]
    fn user_is_added_inline_or_else_to_the_only_list() {
        let location = |d: DecidingLists, list| {
            d.allow(&UserRef::Id(9), None, list)
                .map(|e| e.unwrap().location)
        };
        let inline = deciding(&[id(1)], &[("staff", &[id(2)])]);
        assert_eq!(location(inline.clone(), None), Ok(UserListLocation::Inline));
        assert_eq!(
            location(inline.clone(), Some("staff")),
            Ok(UserListLocation::List("staff".into()))
        );
        assert_eq!(
            location(inline, Some("guests")),
            Err(ChangeError::ListNotReferenced("guests".into()))
        );
        let sole = deciding(&[], &[("staff", &[id(2)])]);
        assert_eq!(
            location(sole, None),
            Ok(UserListLocation::List("staff".into()))
        );
        let several = deciding(&[], &[("staff", &[]), ("guests", &[])]);
        assert_eq!(
            location(several, None),
            Err(ChangeError::AmbiguousList(vec![
                "staff".into(),
                "guests".into()
            ]))
        );
        let missing = DecidingLists {
            inline: Vec::new(),
            lists: vec![("staff".into(), None)],
        };
        assert_eq!(
            location(missing, None),
            Err(ChangeError::ListNotFound("staff".into()))
        );
    }

    #[test]
    fn listed_user_is_not_added_again() {
        let lists = deciding(&[id(1)], &[("staff", &[named("Ann_Example")])]);
        let again = |user: &str| lists.allow(&user.parse().unwrap(), None, None).unwrap();
        assert_eq!(again("1"), Err(UserListLocation::Inline));
        assert_eq!(
            again("@ann_example"),
            Err(UserListLocation::List("staff".into()))
        );
        assert!(again("2").is_ok());
    }

    #[test]
    fn denied_user_is_removed_from_every_list() {
        let lists = deciding(
            &[id(1), id(7)],
            &[("staff", &[id(7), id(2)]), ("rest", &[id(3)])],
        );
        let edits = lists.deny(&UserRef::Id(7)).unwrap();
        assert_eq!(
            edits,
            [
                ListEdit {
                    location: UserListLocation::Inline,
                    entries: vec![(1, id(7))],
                    after: vec![id(1)]
                },
                ListEdit {
                    location: UserListLocation::List("staff".into()),
                    entries: vec![(0, id(7))],
                    after: vec![id(2)]
                }
            ]
        );
        assert_eq!(lists.deny(&UserRef::Id(8)), Ok(Vec::new()));
    }

    #[test]
    fn unlisted_username_is_ambiguous_while_ids_are_listed() {
        let user = UserRef::Username("ann_example".into());
        assert_eq!(
            deciding(&[id(1)], &[]).deny(&user),
            Err(ChangeError::OnlyIdEntries(1))
        );
        assert_eq!(
            deciding(&[named("bob_example")], &[]).deny(&user),
            Ok(vec![])
        );
    }
}
