//! Rich messages in the outbox: the texts that stand in the place of one that Telegram refuses.

use telegram_connector_operator::store::{
    Change, ClaimedLane, FallbackText, LaneWrite, PartContent, ReplyPart, RichPart, Store,
};

use super::{BOT, StoreFixture, claim, connector, end, part, update};

/// A rich message with these texts in its place.
pub(crate) fn rich(html: &str, texts: &[&str]) -> ReplyPart {
    let fallback = texts.iter().map(|text| FallbackText {
        html: None,
        plain: (*text).into(),
    });
    ReplyPart {
        content: PartContent::Rich(RichPart {
            html: html.into(),
            fallback: fallback.collect(),
        }),
        reply_to: None,
        silent: false,
    }
}

/// What waits in the outbox of a lane, which is given back and claimed again.
async fn waiting(store: &dyn Store, lane: &mut ClaimedLane) -> Vec<(u32, String)> {
    end(store, lane.claim, Vec::new()).await;
    *lane = claim(store, "a", 1).await.lanes.remove(0);
    let parts = lane.parts.iter();
    parts
        .map(|part| (part.number, part.part.plain_text().to_owned()))
        .collect()
}

pub(crate) async fn check_refused_rich_message_becomes_its_texts(store: &dyn Store) {
    let uid = connector("a").uid;
    let updates = vec![update(7, 7, 100, "hi")];
    store.accept(&uid, BOT, updates).await.unwrap();
    let mut lane = claim(store, "a", 1).await.lanes.remove(0);
    let message = lane.messages[0].id;
    let rich = rich("<h1>a</h1>", &["a", "b", "c"]);
    let reply = Change::Reply {
        message,
        parts: vec![part("one"), rich.clone(), part("two")],
        notice: None,
    };
    let write = async |lane: &ClaimedLane, changes| {
        let write = LaneWrite {
            claim: lane.claim,
            changes,
            release: None,
        };
        store.write(write.into()).await.unwrap();
    };
    write(&lane, vec![reply, Change::Finish { message }]).await;
    let text = |number, text: &str| (number, text.to_owned());
    let whole = [text(0, "one"), text(1, "a"), text(4, "two")];
    assert_eq!(waiting(store, &mut lane).await, whole);
    assert_eq!(lane.parts[1].part, rich);
    let tried = Change::SendAttempted {
        reply: message,
        number: 1,
        ambiguous: true,
    };
    let replace = |number| Change::Replace {
        reply: message,
        number,
        parts: rich.fallback(),
    };
    let sent = |number| Change::Sent {
        reply: message,
        number,
        message_id: None,
    };
    write(&lane, vec![tried, sent(0)]).await;
    write(&lane, vec![replace(1)]).await;
    let texts = [text(1, "a"), text(2, "b"), text(3, "c"), text(4, "two")];
    assert_eq!(waiting(store, &mut lane).await, texts);
    assert!(
        lane.parts
            .iter()
            .all(|part| !part.ambiguous && part.attempts == 0)
    );
    assert_eq!(lane.parts[0].part, part("a"));
    write(&lane, vec![sent(1), sent(2)]).await;
    // It is not there any more.
    write(&lane, vec![replace(1)]).await;
    assert_eq!(waiting(store, &mut lane).await, texts[2..]);
}

#[tokio::test]
async fn refused_rich_message_becomes_its_texts() {
    let store = StoreFixture::new().open().await;
    check_refused_rich_message_becomes_its_texts(&*store).await;
}
