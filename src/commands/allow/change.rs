//! Decides which list entries change when a user is allowed or denied: pure functions over the lists of a connector's access level.

use jiff::Timestamp;

use crate::api::UserRef;
use crate::api::connector::ListRef;
use crate::api::user_list::UserEntry;

/// Where list entries are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserListLocation {
    /// In the connector.
    Inline,
    /// In a list that the connector refers to.
    List(ListRef),
}

/// The lists that decide at a connector's access level: its own entries, and those of the lists it refers to.
#[derive(Debug, Clone, Default)]
pub struct DecidingLists {
    /// The connector's own entries.
    pub inline: Vec<UserEntry>,
    /// Referenced lists in their order; `None` for one that does not exist.
    pub lists: Vec<(ListRef, Option<Vec<UserEntry>>)>,
}

/// The new content of one list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListEdit {
    /// Which list is changed.
    pub location: UserListLocation,
    /// The entries that are added or removed, or take the place of those in `replaced`, with their positions.
    pub entries: Vec<(usize, UserEntry)>,
    /// The entries whose place `entries` take, in the same order; else none.
    pub replaced: Vec<UserEntry>,
    /// All entries after the change.
    pub after: Vec<UserEntry>,
}

/// What the entry of an allowed user is to say besides who it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct AskedEntry<'a> {
    /// Its end.
    pub until: Option<&'a str>,
    /// Who it is, for people.
    pub note: Option<&'a str>,
}

/// Why no change can be decided; the caller adds the objects' names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeError {
    /// Several lists are referenced, and none was chosen.
    AmbiguousList(Vec<String>),
    /// The connector does not refer to a list of this name.
    ListNotReferenced(String),
    /// The list does not exist.
    ListNotFound(ListRef),
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

    /// Adds a user, or gives their entries another end: `Ok(Err(location))` if an entry says already what is asked for. An entry that has ended is
    /// renewed where it stands. Without `until`, one that ends later says enough. For an addition inline entries take precedence over a single list;
    /// `list` chooses one.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub fn allow(
        &self,
        user: &UserRef,
        asked: AskedEntry<'_>,
        list: Option<&str>,
        now: Timestamp,
    ) -> Result<Result<Vec<ListEdit>, UserListLocation>, ChangeError> {
        let theirs = self.entries().flat_map(|(location, entries)| {
            let theirs = entries.iter().filter(|entry| user.is_in(entry));
            theirs.map(move |entry| (location.clone(), entry))
        });
        let theirs: Vec<(UserListLocation, &UserEntry)> = theirs.collect();
        let enough = match asked.until {
            None => theirs.iter().find(|(_, entry)| holds(entry, now)),
            Some(until) => {
                let says_it = |entry: &UserEntry| entry.until.as_deref() == Some(until);
                let all_say_it = theirs.iter().all(|(_, entry)| says_it(entry));
                theirs.first().filter(|_| all_say_it)
            }
        };
        if let Some((location, _)) = enough {
            return Ok(Err(location.clone()));
        }
        let renewed = self.renew(user, asked, list);
        if !renewed.is_empty() {
            return Ok(Ok(renewed));
        }
        self.add(user, asked, list).map(|edit| Ok(vec![edit]))
    }

    /// Gives the entries of a user the end that is asked for, or takes it off the first of them.
    fn renew(&self, user: &UserRef, asked: AskedEntry<'_>, list: Option<&str>) -> Vec<ListEdit> {
        let is_chosen = |location: &UserListLocation| match list {
            None => true,
            Some(name) => matches!(location, UserListLocation::List(of) if of.name == name),
        };
        let most = if asked.until.is_some() { usize::MAX } else { 1 };
        let renewed = |entry: &UserEntry| UserEntry {
            until: asked.until.map(str::to_owned),
            note: asked.note.map(str::to_owned).or(entry.note.clone()),
            ..entry.clone()
        };
        let edits = self.entries().filter(|(location, _)| is_chosen(location));
        let edits = edits.filter_map(|(location, entries)| {
            let is_theirs = |(_, entry): &(usize, &UserEntry)| user.is_in(entry);
            let theirs = entries.iter().enumerate().filter(is_theirs);
            let (places, replaced): (Vec<usize>, Vec<&UserEntry>) = theirs.take(most).unzip();
            let mut after = entries.to_vec();
            for (place, entry) in places.iter().zip(&replaced) {
                after[*place] = renewed(entry);
            }
            (!places.is_empty()).then(|| ListEdit {
                location,
                entries: places.iter().map(|p| (*p, after[*p].clone())).collect(),
                replaced: replaced.into_iter().cloned().collect(),
                after,
            })
        });
        edits.take(most).collect()
    }

    fn add(
        &self,
        user: &UserRef,
        asked: AskedEntry<'_>,
        list: Option<&str>,
    ) -> Result<ListEdit, ChangeError> {
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
        let entry = user.entry(asked.until, asked.note);
        let mut after = before.clone();
        after.push(entry.clone());
        Ok(ListEdit {
            location,
            entries: vec![(before.len(), entry)],
            replaced: Vec::new(),
            after,
        })
    }

    fn target_list(&self, list: Option<&str>) -> Result<UserListLocation, ChangeError> {
        match (list, self.lists.as_slice()) {
            (Some(wanted), lists) => lists
                .iter()
                .find(|(list, _)| list.name == wanted)
                .map(|(name, _)| UserListLocation::List(name.clone()))
                .ok_or_else(|| ChangeError::ListNotReferenced(wanted.to_owned())),
            (None, _) if !self.inline.is_empty() => Ok(UserListLocation::Inline),
            (None, []) => Ok(UserListLocation::Inline),
            (None, [(only, _)]) => Ok(UserListLocation::List(only.clone())),
            (None, several) => Err(ChangeError::AmbiguousList(
                several.iter().map(|(list, _)| list.name.clone()).collect(),
            )),
        }
    }

    /// Removes a user: one edit for each list with an entry of theirs, whether or not it has ended; none without such a list.
    ///
    /// # Errors
    /// [`ChangeError::OnlyIdEntries`], where "denied already" would be a guess.
    pub fn deny(&self, user: &UserRef, now: Timestamp) -> Result<Vec<ListEdit>, ChangeError> {
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
                    replaced: Vec::new(),
                    after: after.into_iter().map(|(_, entry)| entry).collect(),
                })
            })
            .collect();
        let ids = self.count(|e| e.id.is_some() && holds(e, now));
        if edits.is_empty() && ids > 0 && matches!(user, UserRef::Username(_)) {
            return Err(ChangeError::OnlyIdEntries(ids));
        }
        Ok(edits)
    }

    /// The number of entries by username: whoever has such a username has access, whatever their id.
    pub(crate) fn username_entry_count(&self, now: Timestamp) -> usize {
        self.count(|e| e.username.is_some() && holds(e, now))
    }

    fn count(&self, of: impl Fn(&UserEntry) -> bool) -> usize {
        self.entries()
            .flat_map(|(_, entries)| entries)
            .filter(|entry| of(entry))
            .count()
    }
}

/// Whether an entry names its user now. One whose end cannot be read names nobody.
fn holds(entry: &UserEntry, now: Timestamp) -> bool {
    entry.end().is_ok_and(|end| end.is_none_or(|end| now < end))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In 2027.
    const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

    fn until(entry: UserEntry, until: &str) -> UserEntry {
        UserEntry {
            until: Some(until.to_owned()),
            ..entry
        }
    }

    fn id(id: i64) -> UserEntry {
        UserRef::Id(id).entry(None, None)
    }

    fn named(username: &str) -> UserEntry {
        UserRef::Username(username.to_owned()).entry(None, None)
    }

    fn deciding(inline: &[UserEntry], lists: &[(&str, &[UserEntry])]) -> DecidingLists {
        DecidingLists {
            inline: inline.to_vec(),
            lists: lists
                .iter()
                .map(|(name, users)| (ListRef::from(*name), Some(users.to_vec())))
                .collect(),
        }
    }

    #[test]
    fn user_is_added_inline_or_else_to_the_only_list() {
        let location = |d: DecidingLists, list| {
            d.allow(&UserRef::Id(9), AskedEntry::default(), list, NOW)
                .map(|edits| edits.unwrap().remove(0).location)
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
        let again = |user: &str| {
            let user = user.parse().unwrap();
            lists
                .allow(&user, AskedEntry::default(), None, NOW)
                .unwrap()
        };
        assert_eq!(again("1"), Err(UserListLocation::Inline));
        assert_eq!(
            again("@ann_example"),
            Err(UserListLocation::List("staff".into()))
        );
        assert!(again("2").is_ok());
    }

    #[test]
    fn ended_entry_is_renewed_where_it_stands() {
        let lists = deciding(&[id(1)], &[("staff", &[id(2), until(id(7), "2026-01-31")])]);
        let seven = UserRef::Id(7);
        let renew = |until| {
            let asked = AskedEntry { until, note: None };
            lists.allow(&seven, asked, None, NOW).unwrap().unwrap()
        };
        let renewed = |entry: UserEntry| ListEdit {
            location: UserListLocation::List("staff".into()),
            entries: vec![(1, entry.clone())],
            replaced: vec![until(id(7), "2026-01-31")],
            after: vec![id(2), entry],
        };
        assert_eq!(renew(None), [renewed(id(7))]);
        let march = Some("2027-03-31");
        assert_eq!(renew(march), [renewed(until(id(7), "2027-03-31"))]);
    }

    #[test]
    fn end_that_is_asked_for_goes_into_every_entry_of_the_user() {
        let ends = until(id(7), "2027-03-31");
        let lists = deciding(
            &[id(7)],
            &[("staff", std::slice::from_ref(&ends)), ("more", &[id(7)])],
        );
        let allow = |until| {
            let asked = AskedEntry { until, note: None };
            lists.allow(&UserRef::Id(7), asked, None, NOW).unwrap()
        };
        assert_eq!(allow(None), Err(UserListLocation::Inline), "it holds");
        let edits = allow(Some("2027-05-31")).unwrap();
        let after: Vec<_> = edits.iter().flat_map(|edit| edit.after.clone()).collect();
        assert_eq!(after, vec![until(id(7), "2027-05-31"); 3]);
        let same = deciding(&[ends], &[]);
        let asked = AskedEntry {
            until: Some("2027-03-31"),
            note: None,
        };
        let again = same.allow(&UserRef::Id(7), asked, None, NOW);
        assert_eq!(again, Ok(Err(UserListLocation::Inline)));
    }

    #[test]
    fn ids_that_have_ended_are_nobody_who_may_still_write() {
        let user = UserRef::Username("ann_example".into());
        let lists = deciding(&[until(id(1), "2026-01-31")], &[]);
        assert_eq!(lists.deny(&user, NOW), Ok(vec![]));
    }

    #[test]
    fn denied_user_is_removed_from_every_list() {
        let lists = deciding(
            &[id(1), id(7)],
            &[("staff", &[id(7), id(2)]), ("rest", &[id(3)])],
        );
        let edits = lists.deny(&UserRef::Id(7), NOW).unwrap();
        assert_eq!(
            edits,
            [
                ListEdit {
                    location: UserListLocation::Inline,
                    entries: vec![(1, id(7))],
                    replaced: Vec::new(),
                    after: vec![id(1)]
                },
                ListEdit {
                    location: UserListLocation::List("staff".into()),
                    entries: vec![(0, id(7))],
                    replaced: Vec::new(),
                    after: vec![id(2)]
                }
            ]
        );
        assert_eq!(lists.deny(&UserRef::Id(8), NOW), Ok(Vec::new()));
    }

    #[test]
    fn unlisted_username_is_ambiguous_while_ids_are_listed() {
        let user = UserRef::Username("ann_example".into());
        assert_eq!(
            deciding(&[id(1)], &[]).deny(&user, NOW),
            Err(ChangeError::OnlyIdEntries(1))
        );
        assert_eq!(
            deciding(&[named("bob_example")], &[]).deny(&user, NOW),
            Ok(vec![])
        );
    }
}
