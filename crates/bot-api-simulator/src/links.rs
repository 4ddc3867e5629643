//! Finds URLs in plain text as Telegram does: with a scheme, or a bare domain whose end is a top-level domain, so `README.md` as well.
//!
//! Follows `find_urls` and `fix_url` of `TDLib` (`MessageEntity.cpp`) for one word.

use std::ops::Range;

/// Top-level domains that Telegram knows: those of two letters, and the usual others.
const TLDS: &str = " ac ad ae af ag ai al am ao aq ar as at au aw ax az ba bb bd be bf bg bh bi bj bm bn bo br bs bt bv bw by bz ca cc cd cf cg ch ci ck \
cl cm cn co cr cu cv cw cx cy cz de dj dk dm do dz ec ee eg er es et eu fi fj fk fm fo fr ga gb gd ge gf gg gh gi gl gm gn gp gq gr gs gt gu gw gy hk hm hn \
hr ht hu id ie il im in io iq ir is it je jm jo jp ke kg kh ki km kn kp kr kw ky kz la lb lc li lk lr ls lt lu lv ly ma mc md me mg mh mk ml mm mn mo mp \
mq mr ms mt mu mv mw mx my mz na nc ne nf ng ni nl no np nr nu nz om pa pe pf pg ph pk pl pm pn pr ps pt pw py qa re ro rs ru rw sa sb sc sd se sg sh si \
sj sk sl sm sn so sr ss st su sv sx sy sz tc td tf tg th tj tk tl tm tn to tr tt tv tw tz ua ug uk us uy uz va vc ve vg vi vn vu wf ws ye yt za zm zw \
aero app arpa art asia biz blog cat cloud club com coop design dev edu gov info int jobs link live mil mobi mov museum name net news online org page \
post pro shop site space store tech tel today top travel wiki work world xxx xyz zip ";

/// Where the first URL in a word is, in bytes.
pub(super) fn find_url(word: &str) -> Option<Range<usize>> {
    let lower = word.to_ascii_lowercase();
    let scheme = ["https://", "http://"].into_iter().find_map(|scheme| {
        let at = lower.find(scheme)?;
        Some((at, at + scheme.len()))
    });
    if let Some((start, domain)) = scheme {
        let domain_end = domain + domain_length(&word[domain..]);
        let host = word[domain..domain_end].trim_matches('.');
        return (!host.is_empty()).then(|| start..url_end(word, domain_end));
    }
    let mut at = 0;
    while at < word.len() {
        let length = domain_length(&word[at..]);
        if length == 0 {
            at += word[at..].chars().next().map_or(1, char::len_utf8);
            continue;
        }
        let end = at + length;
        let before = word[..at].chars().next_back();
        let apart = !before.is_some_and(|c| matches!(c, '/' | '#' | '@'));
        if apart && !word[end..].starts_with('@') && is_bare_domain(&word[at..end]) {
            return Some(at..url_end(word, end));
        }
        at = end;
    }
    None
}

fn domain_length(text: &str) -> usize {
    let of_domain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    text.find(|c| !of_domain(c)).unwrap_or(text.len())
}

fn is_bare_domain(domain: &str) -> bool {
    let domain = domain.trim_end_matches('.').to_ascii_lowercase();
    let Some((host, tld)) = domain.rsplit_once('.') else {
        return false;
    };
    let known = !tld.contains('_') && TLDS.contains(&format!(" {tld} "));
    known && host.split('.').all(|label| !label.is_empty())
}

/// The end of a URL of which the domain is known: a port and a path belong to it, and the brackets that open in it.
fn url_end(word: &str, domain_end: usize) -> usize {
    let mut end = domain_end;
    if let Some(port) = word[end..].strip_prefix(':') {
        let digits = port.bytes().take_while(u8::is_ascii_digit).count();
        end += if digits == 0 { 0 } else { digits + 1 };
    }
    let rest = &word[end..];
    if !rest.starts_with(['/', '?', '#']) {
        let domain = &word[..end];
        return domain.trim_end_matches('.').len();
    }
    let mut open = [0_i32; 3];
    let mut length = rest.len();
    for (at, c) in rest.char_indices() {
        let bracket = |brackets: &str| brackets.find(c);
        if let Some(kind) = bracket("([{") {
            open[kind] += 1;
        } else if let Some(kind) = bracket(")]}") {
            open[kind] -= 1;
        }
        if open.iter().any(|open| *open < 0) || c.is_whitespace() || "<>\"«»".contains(c) {
            length = at;
            break;
        }
    }
    end + rest[..length]
        .trim_end_matches(['.', ':', ';', ',', '(', '\'', '?', '!', '`'])
        .len()
}

#[cfg(test)]
mod tests {
    use super::find_url;

    #[test]
    fn urls_are_found_as_telegram_finds_them() {
        for (word, url) in [
            ("(https://example.com/a)", "https://example.com/a"),
            (
                "https://en.wikipedia.org/wiki/Rust_(language)",
                "https://en.wikipedia.org/wiki/Rust_(language)",
            ),
            (
                "(https://en.wikipedia.org/wiki/Rust_(language)).",
                "https://en.wikipedia.org/wiki/Rust_(language)",
            ),
            ("http://localhost:8080/x?", "http://localhost:8080/x"),
            ("README.md", "README.md"),
            ("\"main.rs\",", "main.rs"),
            ("install.sh.", "install.sh"),
            ("example.com/a,", "example.com/a"),
            ("www.example.org:81", "www.example.org:81"),
            ("src\\lib.rs", "lib.rs"),
        ] {
            let found = find_url(word).map(|range| &word[range]);
            assert_eq!(found, Some(url), "{word}");
        }
        for word in [
            "index.ts",
            "a.txt",
            "1.5",
            "e.g.",
            "and/or",
            "src/main.rs",
            ".md",
            "a@b.example",
            "https://",
            "x..md",
            "请看README.md文件",
        ] {
            assert_eq!(find_url(word), None, "{word}");
        }
    }
}
