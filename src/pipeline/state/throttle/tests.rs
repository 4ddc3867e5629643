use rstest::rstest;

use super::bot_limit::{MAX_BOT_PAUSE, PROBE_TIME};
use super::pace::{
    FIRST_PREVIEW_BURST, GROUP_FIRST_PREVIEWS_PER_MINUTE, GROUP_PREVIEWS_PER_MINUTE, SEND_INTERVAL,
};
use super::*;

const BOT: BotId = BotId(1);
const MINUTE: Duration = Duration::from_mins(1);

#[test]
fn rate_limit_of_one_chat_pauses_that_chat() {
    let (throttle, now) = (Throttle::default(), Instant::now());
    throttle.record_rate_limit(BOT, 7, MINUTE, now);
    assert_eq!(throttle.remaining_wait(BOT, 7, now), Some(MINUTE));
    assert_eq!(throttle.remaining_wait(BOT, 8, now), None);
    assert_eq!(throttle.remaining_wait(BotId(2), 7, now), None);
    assert_eq!(throttle.remaining_wait(BOT, 7, now + MINUTE), None);
}

/// Each 429 asks for so long, which must never hold anybody else.
const LONG: Duration = Duration::from_secs(35);

// A chat gets a 429 after so many messages at such a distance, the refused one included, and a quiet chat gets one, too.
#[rstest]
#[case::group_at_twenty_a_minute(-7, 20, 3_000, None)]
#[case::group_just_under_its_limit(-7, 19, 3_000, Some(MAX_BOT_PAUSE))]
#[case::group_after_a_busy_minute(-7, 30, 4_000, Some(MAX_BOT_PAUSE))]
#[case::group_faster_than_one_a_second(-7, 3, 400, None)]
#[case::private_chat_faster_than_one_a_second(7, 2, 999, None)]
#[case::private_chat_at_one_a_second(7, 20, 1_000, Some(MAX_BOT_PAUSE))]
#[case::quiet_private_chat(7, 1, 0, Some(MAX_BOT_PAUSE))]
fn chat_past_its_own_limit_explains_its_429(
    #[case] chat: i64,
    #[case] messages: u32,
    #[case] every_ms: u64,
    #[case] others_wait: Option<Duration>,
) {
    let (throttle, mut now) = (Throttle::default(), Instant::now());
    for message in 0..messages {
        if message > 0 {
            now += Duration::from_millis(every_ms);
        }
        assert_eq!(throttle.reserve_send(BOT, chat, now), Ok(()));
    }
    throttle.record_rate_limit(BOT, chat, LONG, now);
    throttle.reserve_send(BOT, 8, now).unwrap();
    throttle.record_rate_limit(BOT, 8, LONG, now);
    assert_eq!(throttle.reserve_send(BOT, 9, now).err(), others_wait);
    assert_eq!(throttle.reserve_send(BOT, chat, now), Err(LONG));
    assert_eq!(throttle.reserve_send(BotId(2), 9, now), Ok(()));
}

#[test]
fn two_busy_groups_delay_nobody_else() {
    let (throttle, mut now) = (Throttle::default(), Instant::now());
    for _ in 0..25 {
        now += Duration::from_secs(1);
        for group in [-7, -8] {
            throttle.reserve_send(BOT, group, now).unwrap();
        }
    }
    for group in [-7, -8] {
        throttle.record_rate_limit(BOT, group, LONG, now);
    }
    assert_eq!(throttle.reserve_send(BOT, 9, now), Ok(()));
    assert_eq!(throttle.reserve_preview(BOT, 10, true, now), Ok(()));
    assert_eq!(throttle.reserve_send(BOT, -7, now), Err(LONG));
}

#[test]
fn unexplained_429s_mean_the_bot_only_if_they_come_together() {
    let (throttle, now) = (Throttle::default(), Instant::now());
    throttle.record_rate_limit(BOT, 7, LONG, now);
    throttle.record_rate_limit(BOT, 7, LONG, now);
    assert_eq!(throttle.reserve_send(BOT, 9, now), Ok(()));
    let later = now + Duration::from_secs(5);
    throttle.record_rate_limit(BOT, 8, LONG, later);
    assert_eq!(throttle.reserve_send(BOT, 9, later), Ok(()));
}

/// A bot whose limit is inferred, and when its pause ends.
fn limited_bot() -> (Throttle, Instant) {
    let (throttle, now) = (Throttle::default(), Instant::now());
    throttle.record_rate_limit(BOT, 7, LONG, now);
    throttle.record_rate_limit(BOT, 8, LONG, now);
    let wait = throttle.reserve_send(BOT, 9, now).unwrap_err();
    (throttle, now + wait)
}

#[test]
fn accepted_probe_ends_the_limit() {
    let (throttle, now) = limited_bot();
    assert_eq!(throttle.reserve_send(BOT, 9, now), Ok(()));
    assert_eq!(throttle.reserve_send(BOT, 10, now), Err(PROBE_TIME));
    throttle.record_accepted(BOT, 11); // sent before the pause, and no probe
    assert_eq!(throttle.reserve_send(BOT, 10, now), Err(PROBE_TIME));
    throttle.record_accepted(BOT, 9);
    assert_eq!(throttle.reserve_send(BOT, 10, now), Ok(()));
    assert_eq!(throttle.reserve_send(BOT, 11, now), Ok(()));
}

#[test]
fn refused_probe_pauses_the_bot_again_for_a_moment() {
    let (throttle, now) = limited_bot();
    throttle.reserve_send(BOT, 9, now).unwrap();
    throttle.record_rate_limit(BOT, 9, LONG, now);
    assert_eq!(throttle.reserve_send(BOT, 10, now), Err(MAX_BOT_PAUSE));
    let now = now + MAX_BOT_PAUSE;
    assert_eq!(throttle.reserve_send(BOT, 10, now), Ok(()));
}

#[test]
fn probe_over_its_own_limit_lets_the_next_one_probe() {
    let (throttle, now) = limited_bot();
    // It was in the chat's own burst, sent before the pause.
    throttle
        .lock()
        .get_mut(&BOT)
        .unwrap()
        .pace
        .record_sent(9, now);
    throttle.reserve_send(BOT, 9, now).unwrap();
    throttle.record_rate_limit(BOT, 9, LONG, now);
    assert_eq!(throttle.reserve_send(BOT, 10, now), Ok(()));
    assert_eq!(throttle.reserve_send(BOT, 11, now), Err(PROBE_TIME));
}

#[test]
fn lost_probe_is_followed_by_another() {
    let (throttle, now) = limited_bot();
    throttle.reserve_send(BOT, 9, now).unwrap();
    let now = now + PROBE_TIME;
    assert_eq!(throttle.reserve_send(BOT, 10, now), Ok(()));
    assert_eq!(throttle.reserve_send(BOT, 11, now), Err(PROBE_TIME));
}

#[test]
fn previews_let_the_probe_go_first() {
    let (throttle, now) = limited_bot();
    assert_eq!(
        throttle.reserve_preview(BOT, 9, true, now),
        Err(now + PROBE_TIME)
    );
    throttle.reserve_send(BOT, 10, now).unwrap();
    throttle.record_accepted(BOT, 10);
    assert_eq!(throttle.reserve_preview(BOT, 9, true, now), Ok(()));
}

#[test]
fn limit_that_nobody_waits_for_is_forgotten() {
    let (throttle, now) = limited_bot();
    let now = now + Duration::from_secs(5);
    assert_eq!(throttle.reserve_send(BOT, 9, now), Ok(()));
    assert_eq!(throttle.reserve_send(BOT, 10, now), Ok(()));
    assert_eq!(throttle.remaining_wait(BOT, 9, now + MINUTE), None);
    assert!(throttle.lock().is_empty());
}

#[test]
fn refused_token_pauses_the_bot_for_the_whole_time() {
    let (throttle, now) = (Throttle::default(), Instant::now());
    throttle.pause_bot(BOT, MINUTE, now);
    assert_eq!(throttle.reserve_send(BOT, 9, now), Err(MINUTE));
    throttle.clear(BOT);
    assert_eq!(throttle.reserve_send(BOT, 9, now), Ok(()));
}

/// Asks for room for a preview in each of these chats every 10 ms; gives how many there was room for.
fn shown(throttle: &Throttle, chats: &[i64], from: Instant, seconds: u32) -> usize {
    let looks = (0..100 * seconds).map(|n| from + n * Duration::from_millis(10));
    looks
        .map(|now| {
            let room = |chat: &&i64| throttle.reserve_preview(BOT, **chat, false, now).is_ok();
            chats.iter().filter(room).count()
        })
        .sum()
}

#[test]
fn previews_are_limited_per_chat_and_per_bot() {
    let (throttle, now) = (Throttle::default(), Instant::now());
    assert_eq!(shown(&throttle, &[7], now, 10), 10);
    let fifty: Vec<i64> = (100..150).collect();
    let shown = shown(&throttle, &fifty, now + MINUTE, 10);
    assert!((195..=205).contains(&shown), "{shown}");
}

#[test]
fn answers_delay_previews() {
    let (throttle, now) = (Throttle::default(), Instant::now());
    for n in 0..40 {
        throttle.reserve_send(BOT, n, now).unwrap();
    }
    assert_eq!(
        throttle.reserve_preview(BOT, 7, true, now),
        Err(now + 40 * SEND_INTERVAL - FIRST_PREVIEW_BURST)
    );
    assert!(throttle.reserve_preview(BotId(2), 7, true, now).is_ok());
}

#[test]
fn first_preview_is_delayed_by_at_most_400_ms_under_load() {
    let (throttle, begun) = (Throttle::default(), Instant::now());
    // 48 chats that go on without end, one answer sent in each 12 s, and twelve that begin at the very same time.
    for n in 0..1_000_u32 {
        let now = begun + n * Duration::from_millis(10);
        for chat in 0..48 {
            let _ = throttle.reserve_preview(BOT, chat, false, now);
        }
        if n % 25 == 0 {
            throttle.reserve_send(BOT, i64::from(n) % 48, now).unwrap();
        }
    }
    let now = begun + Duration::from_secs(10);
    for chat in 100..112 {
        let mut at = now;
        while let Err(until) = throttle.reserve_preview(BOT, chat, true, at) {
            at = until;
        }
        let delay = at.duration_since(now);
        assert!(delay <= Duration::from_millis(400), "{chat}: {delay:?}");
    }
}

#[test]
fn later_previews_never_delay_a_first_preview_in_a_group() {
    let (throttle, begun) = (Throttle::default(), Instant::now());
    // An answer every 15 s, shown first after one, edited every 4.5 s as far as there is room, and sent.
    for answer in 0..40_u64 {
        let at = |ms| begun + Duration::from_millis(15_000 * answer + ms);
        assert_eq!(
            throttle.reserve_preview(BOT, -7, true, at(1_000)),
            Ok(()),
            "{answer}"
        );
        let _ = throttle.reserve_preview(BOT, -7, false, at(5_500));
        let _ = throttle.reserve_preview(BOT, -7, false, at(10_000));
        throttle.reserve_send(BOT, -7, at(12_000)).unwrap();
    }
}

#[test]
fn first_previews_leave_group_capacity_for_answers() {
    let (throttle, begun) = (Throttle::default(), Instant::now());
    let at = |second| begun + second * Duration::from_secs(1);
    let shown = (0..55).filter(|n| throttle.reserve_preview(BOT, -7, true, at(*n)).is_ok());
    assert_eq!(shown.count(), GROUP_FIRST_PREVIEWS_PER_MINUTE);
    assert_eq!(throttle.reserve_preview(BOT, -7, true, at(55)), Err(at(60)));
}

#[test]
fn group_sends_expire_after_a_minute() {
    let (throttle, begun) = (Throttle::default(), Instant::now());
    for second in 0..1_000 {
        throttle
            .reserve_send(BOT, -7, begun + Duration::from_secs(second))
            .unwrap();
    }
    let remembered = |throttle: &Throttle| {
        let bots = throttle.lock();
        bots.get(&BOT)
            .map(|bot_throttle| bot_throttle.pace.groups[&-7].len())
    };
    assert_eq!(remembered(&throttle), Some(60));
    assert_eq!(
        throttle.remaining_wait(BOT, -7, begun + Duration::from_secs(1_100)),
        None
    );
    assert_eq!(remembered(&throttle), None);
}

#[test]
fn previews_leave_group_capacity_for_answers() {
    let (throttle, now) = (Throttle::default(), Instant::now());
    assert_eq!(shown(&throttle, &[-7], now, 55), GROUP_PREVIEWS_PER_MINUTE);
    throttle
        .reserve_send(BOT, -7, now + Duration::from_secs(55))
        .unwrap();
    let later = now + MINUTE;
    assert!(throttle.reserve_preview(BOT, -7, false, later).is_err());
    assert_eq!(
        shown(&throttle, &[-7], now + 2 * MINUTE, 55),
        GROUP_PREVIEWS_PER_MINUTE
    );
}

#[test]
fn no_preview_is_shown_where_telegram_asked_to_wait() {
    let (throttle, now) = (Throttle::default(), Instant::now());
    throttle.record_rate_limit(BOT, 7, MINUTE, now);
    assert_eq!(
        throttle.reserve_preview(BOT, 7, true, now),
        Err(now + MINUTE)
    );
    assert_eq!(throttle.reserve_preview(BOT, 8, true, now), Ok(()));
}

#[test]
fn one_chats_429s_one_after_the_other_never_hold_the_bot() {
    let (throttle, now) = (Throttle::default(), Instant::now());
    throttle.record_rate_limit(BOT, 7, MINUTE, now);
    throttle.record_rate_limit(BOT, 8, MINUTE, now + MINUTE);
    assert_eq!(throttle.remaining_wait(BOT, 9, now + MINUTE), None);
}
