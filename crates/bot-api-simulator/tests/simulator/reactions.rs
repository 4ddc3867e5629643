//! `setMessageReaction`: which reactions are taken, and where they are seen.

use serde_json::{Value, json};

use crate::keyboards::with_ann;

#[tokio::test]
async fn reaction_is_set_replaced_and_removed() {
    let client = with_ann().await;
    let react = |reaction: Value| json!({"chat_id": 42, "message_id": 1, "reaction": reaction});
    let seen = || client.sim.reactions(client.bot, 42, 1);
    for emoji in ["👀", "👍"] {
        let reaction = json!([{"type": "emoji", "emoji": emoji}]);
        client
            .ok("setMessageReaction", react(reaction.clone()))
            .await;
        assert_eq!(json!(seen()), reaction);
    }
    let path = "/bots/acme_support_bot/reactions?chat=42&message_id=1";
    let (_, listed) = client.control("GET", path, None).await;
    assert_eq!(listed[0]["emoji"], "👍");
    let invalid = react(json!([{"type": "emoji", "emoji": "🦖"}]));
    assert_eq!(
        client.refused("setMessageReaction", invalid).await,
        (400, "Bad Request: REACTION_INVALID".to_owned())
    );
    let missing = json!({"chat_id": 42, "message_id": 99});
    assert_eq!(
        client.refused("setMessageReaction", missing).await.1,
        "Bad Request: message to react not found"
    );
    client.ok("setMessageReaction", react(json!([]))).await;
    assert!(seen().is_empty());
}
