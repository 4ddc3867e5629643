//! What is said, tapped and shown in the conversations in which processes are killed.

use std::time::Duration;

use bot_api_simulator::{Fault, FaultKind};
use telegram_connector_operator::api::connector::{RespondTo, RichMessages, SpeechOccasion};
use telegram_connector_operator::assistant::{
    AnswerPart, ApprovalRequest, Choice, ChoiceButton, Question,
};
use telegram_connector_operator::registry::{
    ApprovalChat, ApprovalPolicy, DayLimits, GroupPolicy, RequestPolicy, ResolvedConnector,
};
use telegram_connector_operator::store::DayLimit;

use super::world::World;
use crate::files_out::{offered_bytes, png};
use crate::scripted_assistant::{Script, text};
use crate::test_env::{ANN, EVE, noon_zone, specific_users};

/// May write to the bot, and approve.
pub(super) const BEN: i64 = 1002;

/// Where something is said and shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chat {
    Ann,
    /// The private chat of who may not write.
    Eve,
    /// The group that reads along.
    Team,
    /// The group in which approvers are asked.
    Ops,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Act {
    Say(i64, Chat, &'static str),
    Speak(&'static str),
    /// Taps these buttons of the only keyboard in the chat, one after the other.
    Tap(i64, Chat, &'static [usize]),
}

/// What people do at once, and what is shown when it has had its effect.
pub(super) struct Step {
    pub(super) acts: &'static [Act],
    pub(super) effect: (Chat, &'static str),
}

/// What stands under a question once it is decided.
pub(super) struct Mark {
    pub(super) chat: Chat,
    pub(super) text: &'static str,
    /// Words decided, which do not tell the message: after a kill nobody may know it.
    pub(super) is_typed: bool,
}

/// A conversation, and all that comes of it in the end, but for what a kill doubled.
pub(super) struct Conversation {
    pub(super) configure: fn(&mut ResolvedConnector, &World),
    pub(super) steps: &'static [Step],
    /// Parts of the texts in order, with `|` between what may stand in each other's place.
    pub(super) shown: &'static [(Chat, &'static [&'static str])],
    /// What stands under the questions once they are decided, under one message each.
    pub(super) marks: &'static [Mark],
    /// Who is let in by a grant in the end.
    pub(super) grants: i64,
    /// What the assistant is asked, in order.
    pub(super) asked: &'static [&'static str],
}

const AND_NOW: Step = Step {
    acts: &[Act::Say(ANN, Chat::Ann, "and now")],
    effect: (Chat::Ann, "ok"),
};

pub(super) const CHOICE: Conversation = Conversation {
    configure: |_, _| {},
    steps: &[
        Step {
            acts: &[Act::Say(ANN, Chat::Ann, "choose")],
            effect: (Chat::Ann, "Well?"),
        },
        Step {
            acts: &[Act::Tap(ANN, Chat::Ann, &[0, 0, 1])],
            effect: (Chat::Ann, "done: Yes"),
        },
        AND_NOW,
    ],
    shown: &[(Chat::Ann, &["Well?", "done: Yes", "ok"])],
    marks: &[Mark {
        chat: Chat::Ann,
        text: "✓ Yes",
        is_typed: false,
    }],
    grants: 0,
    asked: &["choose", "Yes of q1", "and now"],
};

/// Words in the place of a tap, which come before it.
pub(super) const WORDS: Conversation = Conversation {
    steps: &[
        Step {
            acts: &[Act::Say(ANN, Chat::Ann, "choose")],
            effect: (Chat::Ann, "Well?"),
        },
        Step {
            acts: &[
                Act::Say(ANN, Chat::Ann, "neither"),
                Act::Tap(ANN, Chat::Ann, &[0]),
            ],
            effect: (Chat::Ann, "ok"),
        },
    ],
    shown: &[(Chat::Ann, &["Well?", "ok"])],
    marks: &[],
    grants: 0,
    asked: &["choose", "neither"],
    ..CHOICE
};

pub(super) const APPROVAL: Conversation = Conversation {
    configure: |_, _| {},
    steps: &[
        Step {
            acts: &[Act::Say(ANN, Chat::Ann, "delete")],
            effect: (Chat::Ann, "delete_pod"),
        },
        Step {
            acts: &[Act::Tap(ANN, Chat::Ann, &[1, 0, 1])],
            effect: (Chat::Ann, "done: refuse"),
        },
        Step {
            acts: &[Act::Say(ANN, Chat::Ann, "delete again")],
            effect: (Chat::Ann, "delete_deployment"),
        },
        Step {
            acts: &[Act::Say(ANN, Chat::Ann, "yes")],
            effect: (Chat::Ann, "done: approve"),
        },
    ],
    shown: &[(
        Chat::Ann,
        &[
            "Well?",
            "delete_pod",
            "done: refuse",
            "Well?",
            "delete_deployment",
            "done: approve",
        ],
    )],
    marks: &[
        Mark {
            chat: Chat::Ann,
            text: "✗ Refuse",
            is_typed: false,
        },
        Mark {
            chat: Chat::Ann,
            text: "✓ Approve",
            is_typed: true,
        },
    ],
    grants: 0,
    asked: &["delete", "refuse of a1", "delete again", "approve of a2"],
};

pub(super) const APPROVAL_ELSEWHERE: Conversation = Conversation {
    configure: |connector, world| {
        connector.approvals = Some(ApprovalPolicy {
            approvers: Some(specific_users(&[BEN])),
            chat: Some(ApprovalChat {
                id: world.ops,
                topic: 0,
            }),
            ..ApprovalPolicy::default()
        });
    },
    steps: &[
        Step {
            acts: &[Act::Say(ANN, Chat::Ann, "delete")],
            effect: (Chat::Ops, "delete_pod"),
        },
        Step {
            acts: &[
                Act::Tap(ANN, Chat::Ops, &[1]),
                Act::Tap(BEN, Chat::Ops, &[0, 1, 0]),
            ],
            effect: (Chat::Ann, "done: approve"),
        },
        AND_NOW,
    ],
    shown: &[
        (Chat::Ann, &["Well?", "approv", "done: approve", "ok"]),
        (Chat::Ops, &["delete_pod"]),
    ],
    marks: &[Mark {
        chat: Chat::Ops,
        text: ": Approve",
        is_typed: false,
    }],
    grants: 0,
    asked: &["delete", "approve of a1", "and now"],
};

/// Nobody decides: a refusal that is told, once.
pub(super) const EXPIRED_APPROVAL: Conversation = Conversation {
    configure: |connector, _| {
        connector.approvals = Some(ApprovalPolicy {
            timeout: Duration::ZERO,
            ..ApprovalPolicy::default()
        });
    },
    steps: &[
        Step {
            acts: &[Act::Say(ANN, Chat::Ann, "delete")],
            effect: (Chat::Ann, "done: refuse"),
        },
        AND_NOW,
    ],
    shown: &[(
        Chat::Ann,
        &[
            "Well?",
            "delete_pod",
            "Nobody decided",
            "done: refuse",
            "ok",
        ],
    )],
    marks: &[],
    grants: 0,
    asked: &["delete", "refuse of a1", "and now"],
};

/// Eve asks for access, and is let in once.
pub(super) const ACCESS: Conversation = Conversation {
    configure: |connector, world| {
        connector.access.takes_grants = true;
        connector.requests = Some(RequestPolicy {
            notify: ApprovalChat {
                id: world.ops,
                topic: 0,
            },
            approvers: specific_users(&[BEN]),
            grant_days: None,
            per_user_per_day: 1,
        });
    },
    steps: &[
        Step {
            acts: &[Act::Say(EVE, Chat::Eve, "let me in")],
            effect: (Chat::Eve, "private"),
        },
        Step {
            acts: &[Act::Tap(EVE, Chat::Eve, &[0, 0])],
            effect: (Chat::Ops, "asks for access"),
        },
        Step {
            acts: &[
                Act::Tap(EVE, Chat::Ops, &[0]),
                Act::Tap(BEN, Chat::Ops, &[0, 1, 0]),
            ],
            effect: (Chat::Eve, "You have access now"),
        },
        Step {
            acts: &[Act::Say(EVE, Chat::Eve, "and now")],
            effect: (Chat::Eve, "ok"),
        },
    ],
    shown: &[
        (
            Chat::Eve,
            &[
                "private",
                "passed your request",
                "You have access now",
                "ok",
            ],
        ),
        (Chat::Ops, &["asks for access"]),
    ],
    marks: &[Mark {
        chat: Chat::Ops,
        text: ": allowed",
        is_typed: false,
    }],
    grants: 1,
    asked: &["and now"],
};

pub(super) const FILES: Conversation = Conversation {
    configure: |_, _| {},
    steps: &[
        Step {
            acts: &[Act::Say(ANN, Chat::Ann, "files")],
            effect: (Chat::Ann, "three"),
        },
        AND_NOW,
    ],
    shown: &[(
        Chat::Ann,
        &["one", "photo", "two", "document", "three", "ok"],
    )],
    marks: &[],
    grants: 0,
    asked: &["files", "and now"],
};

pub(super) const RICH: Conversation = Conversation {
    configure: |connector, _| connector.answers.rich = RichMessages::WhenNeeded,
    steps: &[
        Step {
            acts: &[Act::Say(ANN, Chat::Ann, "prices")],
            effect: (Chat::Ann, "basic"),
        },
        AND_NOW,
    ],
    // Asked about again, it is handled with care: as plain text.
    shown: &[(Chat::Ann, &["rich|basic", "ok"])],
    marks: &[],
    grants: 0,
    asked: &["prices", "and now"],
};

pub(super) const REFUSED_RICH: Conversation = Conversation {
    configure: |connector, world| {
        connector.answers.rich = RichMessages::WhenNeeded;
        let description = "Bad Request: RICH_MESSAGE_INVALID".into();
        let refusal = FaultKind::Status {
            code: 400,
            description,
        };
        let fault = Fault::new(refusal).method("sendRichMessage");
        world.env.telegram.add_fault(fault);
    },
    shown: &[(Chat::Ann, &["basic", "ok"])],
    ..RICH
};

pub(super) const SPEECH: Conversation = Conversation {
    configure: |connector, world| {
        connector.transcription = world.env.transcription();
        connector.speech = world.env.speech(SpeechOccasion::Spoken);
    },
    steps: &[
        Step {
            acts: &[Act::Speak("where is it?")],
            effect: (Chat::Ann, "ok"),
        },
        Step {
            acts: &[Act::Speak("tell me all")],
            effect: (Chat::Ann, "the end"),
        },
        AND_NOW,
    ],
    shown: &[(Chat::Ann, &["voice", "voice", "the end", "ok"])],
    marks: &[],
    grants: 0,
    asked: &["where is it?", "tell me all", "and now"],
};

pub(super) const READ_ALONG: Conversation = Conversation {
    configure: |connector, _| {
        connector.groups = Some(GroupPolicy {
            read_along: 3,
            respond_to: RespondTo::Mention,
            chats: None,
        });
    },
    steps: &[
        Step {
            acts: &[
                Act::Say(BEN, Chat::Team, "idea 1"),
                Act::Say(BEN, Chat::Team, "idea 2"),
                Act::Say(ANN, Chat::Team, "@support_bot which one?"),
            ],
            effect: (Chat::Team, "ok"),
        },
        Step {
            acts: &[
                Act::Say(BEN, Chat::Team, "idea 3"),
                Act::Say(ANN, Chat::Team, "@support_bot files"),
            ],
            effect: (Chat::Team, "three"),
        },
    ],
    shown: &[(
        Chat::Team,
        &["ok", "one", "photo", "two", "document", "three"],
    )],
    marks: &[],
    grants: 0,
    asked: &["which one? <idea 1, idea 2>", "files <idea 3>"],
};

/// The day's last question is refused, once; what follows from an approval is a part of its question.
pub(super) const LIMITED: Conversation = Conversation {
    configure: |connector, _| {
        let limit = DayLimit {
            messages: Some(3),
            tokens: Some(1_000),
        };
        connector.day_limits = Some(DayLimits {
            user: limit,
            connector: limit,
            zone: noon_zone(),
        });
    },
    steps: &[
        Step {
            acts: &[Act::Say(ANN, Chat::Ann, "choose")],
            effect: (Chat::Ann, "Well?"),
        },
        Step {
            acts: &[Act::Tap(ANN, Chat::Ann, &[0])],
            effect: (Chat::Ann, "done: Yes"),
        },
        Step {
            acts: &[Act::Say(ANN, Chat::Ann, "delete")],
            effect: (Chat::Ann, "delete_pod"),
        },
        Step {
            acts: &[Act::Tap(ANN, Chat::Ann, &[1])],
            effect: (Chat::Ann, "done: refuse"),
        },
        Step {
            acts: &[
                Act::Say(ANN, Chat::Ann, "three"),
                Act::Say(ANN, Chat::Ann, "four"),
            ],
            effect: (Chat::Ann, "asked all"),
        },
    ],
    shown: &[(
        Chat::Ann,
        &[
            "Well?",
            "done: Yes",
            "Well?",
            "delete_pod",
            "done: refuse",
            "asked all",
        ],
    )],
    marks: &[
        Mark {
            chat: Chat::Ann,
            text: "✓ Yes",
            is_typed: false,
        },
        Mark {
            chat: Chat::Ann,
            text: "✗ Refuse",
            is_typed: false,
        },
    ],
    grants: 0,
    asked: &["choose", "Yes of q1", "delete", "refuse of a1"],
};

pub(super) fn respond(question: &Question) -> Script {
    let text_part = |words: &str| Ok(AnswerPart::Text(words.into()));
    let approval = |id: &str, title: &str| {
        Ok(AnswerPart::Approval(ApprovalRequest {
            id: Some(id.into()),
            title: title.into(),
            ..ApprovalRequest::default()
        }))
    };
    if let Some(action) = &question.action {
        return text(format!("done: {}", action.value));
    }
    Ok(match question.text.as_str() {
        "choose" => {
            let buttons = ["Yes", "No"].map(|text| ChoiceButton {
                text: text.into(),
                value: text.into(),
            });
            let choice = Choice {
                id: Some("q1".into()),
                rows: vec![buttons.into()],
                ..Choice::default()
            };
            vec![text_part("Well?"), Ok(AnswerPart::Choice(choice))]
        }
        "delete" => vec![text_part("Well?"), approval("a1", "delete_pod")],
        "delete again" => vec![text_part("Well?"), approval("a2", "delete_deployment")],
        "prices" => vec![text_part("|plan|price|\n|-|-:|\n|basic|$5|")],
        "tell me all" => vec![text_part(&format!("{}the end", "word ".repeat(300)))],
        words if words.contains("files") => vec![
            text_part("one"),
            Ok(offered_bytes("cat.png", &png())),
            text_part("two"),
            Ok(offered_bytes("a.pdf", b"%PDF-1.7")),
            text_part("three"),
        ],
        _ => vec![text_part("ok")],
    })
}
