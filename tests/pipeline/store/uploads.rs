//! The bytes of files that wait in the outbox: whose they are, how many there may be, and when they go.

use bytes::Bytes;
use telegram_connector_operator::store::{
    Change, Claim, ClaimedLane, FilePart, LaneWrite, ListingQuery, PartContent, Release, ReplyPart,
    Store,
};
use telegram_connector_operator::telegram::FileKind;

use super::{BOT, StoreFixture, claim, connector, end, part, update};

/// The bytes of a connector's files, and of all, that find room in these tests.
pub(crate) const ROOM: (u64, u64) = (1000, 1500);

/// A file of so many bytes.
fn file(bytes: usize) -> ReplyPart {
    ReplyPart {
        content: PartContent::File(FilePart {
            kind: FileKind::Photo,
            name: "cat.png".into(),
            media_type: "image/png".into(),
            replacement: "(not sent)".into(),
            caption: None,
            bytes,
            upload: Some(vec![7; bytes].into()),
        }),
        reply_to: None,
        silent: false,
    }
}

async fn write(store: &dyn Store, claim: Claim, changes: Vec<Change>) {
    let release = None;
    let write = LaneWrite {
        claim,
        changes,
        release,
    };
    store.write(write.into()).await.unwrap();
}

/// A lane of a chat with one message, claimed.
async fn begin(store: &dyn Store, name: &str, chat: i64) -> ClaimedLane {
    let updates = vec![update(chat, chat, 100, "hi")];
    let uid = connector(name).uid;
    store.accept(&uid, BOT, updates).await.unwrap();
    claim(store, name, 1).await.lanes.remove(0)
}

fn reply(lane: &ClaimedLane, parts: Vec<ReplyPart>) -> Change {
    let message = lane.messages[0].id;
    let notice = None;
    Change::Reply {
        message,
        parts,
        notice,
    }
}

async fn stored(store: &dyn Store, lane: &ClaimedLane, number: u32) -> Option<Bytes> {
    let reply = lane.messages[0].id;
    store.upload(&lane.claim, reply, number).await.unwrap()
}

/// Of the other connector's claim there is nothing to be had; sent, given up and deleted files are gone.
pub(crate) async fn check_file_is_stored_until_its_part_ends(store: &dyn Store) {
    let lane = begin(store, "a", 1).await;
    let other = begin(store, "b", 2).await;
    let parts = vec![part("one"), file(300), file(200), part("two")];
    write(store, lane.claim, vec![reply(&lane, parts)]).await;
    let id = lane.messages[0].id;
    assert_eq!(stored(store, &lane, 1).await.unwrap(), vec![7; 300]);
    assert_eq!(store.upload(&other.claim, id, 1).await.unwrap(), None);
    assert_eq!(stored(store, &lane, 0).await, None);
    let (reply_id, number) = (id, 1);
    let sent = Change::Sent {
        reply: reply_id,
        number,
        message_id: None,
    };
    write(store, lane.claim, vec![sent]).await;
    assert_eq!(stored(store, &lane, 1).await, None);
    assert_eq!(stored(store, &lane, 2).await.unwrap(), vec![7; 200]);
    let ended = Change::EndReply {
        reply: id,
        dead_letter_reason: Some("a test".into()),
    };
    let finished = Change::Finish { message: id };
    end(store, lane.claim, vec![ended, finished]).await;
    assert_eq!(stored(store, &lane, 2).await, None);
    // What is put back has a sentence in its place.
    let listing = ListingQuery {
        limit: 10,
        ..ListingQuery::default()
    };
    let dead = store.dead_letters(&listing).await.unwrap().rows;
    let ids: Vec<_> = dead.iter().map(|letter| letter.id).collect();
    assert_eq!(store.retry_dead_letters(&ids).await.unwrap(), 3);
    let again = claim(store, "a", 1).await.lanes.remove(0);
    let numbers: Vec<_> = again.parts.iter().map(|p| p.number).collect();
    assert_eq!(numbers, [0, 2, 3]);
    assert_eq!(again.parts[1].part, file(200).without_upload());
    assert_eq!(stored(store, &lane, 2).await, None);
    let write_again = reply(&other, vec![file(400)]);
    write(store, other.claim, vec![write_again]).await;
    assert!(stored(store, &other, 0).await.is_some());
    store
        .delete_connector_data(&connector("b").uid)
        .await
        .unwrap();
    assert_eq!(stored(store, &other, 0).await, None);
}

/// What finds no room is stored without its bytes, and what is replaced makes room.
pub(crate) async fn check_files_have_room_by_connector_and_in_all(store: &dyn Store) {
    let lane = begin(store, "a", 1).await;
    let parts = vec![file(600), file(600), file(400)];
    write(store, lane.claim, vec![reply(&lane, parts)]).await;
    let mut sizes = Vec::new();
    for number in 0..3 {
        sizes.push(stored(store, &lane, number).await.map(|bytes| bytes.len()));
    }
    assert_eq!(sizes, [Some(600), None, Some(400)]);
    let other = begin(store, "b", 2).await;
    write(store, other.claim, vec![reply(&other, vec![file(501)])]).await;
    assert_eq!(stored(store, &other, 0).await, None);
    // The same reply, written anew.
    let parts = vec![part("instead"), file(10), file(20)];
    write(store, lane.claim, vec![reply(&lane, parts)]).await;
    assert_eq!(stored(store, &lane, 0).await, None);
    assert_eq!(stored(store, &lane, 1).await.unwrap().len(), 10);
    assert_eq!(stored(store, &lane, 2).await.unwrap().len(), 20);
    write(store, other.claim, vec![reply(&other, vec![file(501)])]).await;
    assert!(stored(store, &other, 0).await.is_some());
    for claim in [lane.claim, other.claim] {
        let release = Some(Release::Now);
        let changes = Vec::new();
        let write = LaneWrite {
            claim,
            changes,
            release,
        };
        assert!(store.write(write.into()).await.unwrap().more_waits);
    }
}

#[tokio::test]
async fn file_is_stored_until_its_part_ends() {
    let fixture = StoreFixture::new();
    check_file_is_stored_until_its_part_ends(&*fixture.open().await).await;
}

#[tokio::test]
async fn files_have_room_by_connector_and_in_all() {
    let fixture = StoreFixture::new();
    let store = fixture.open_with(|options| options.upload_bytes = ROOM);
    check_files_have_room_by_connector_and_in_all(&*store.await).await;
}

/// Files of some connectors do not take the room of what others are told.
#[tokio::test]
async fn files_take_a_quarter_of_the_volume_at_most() {
    const MEBIBYTE: usize = 1 << 20;
    let fixture = StoreFixture::new();
    let store = fixture.open_with(|options| options.max_bytes = Some(16 << 20));
    let store = store.await;
    let mut kept = Vec::new();
    for (chat, name) in (1..).zip(["a", "b", "c"]) {
        let lane = begin(&*store, name, chat).await;
        let parts = (0..3).map(|_| file(MEBIBYTE * 9 / 10)).collect();
        write(&*store, lane.claim, vec![reply(&lane, parts)]).await;
        for number in 0..3 {
            kept.push(stored(&*store, &lane, number).await.is_some());
        }
    }
    // Of 16 MiB two for each connector, and four in all.
    assert_eq!(
        kept,
        [true, true, false, true, true, false, false, false, false]
    );
}
