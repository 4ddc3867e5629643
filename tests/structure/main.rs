//! Checks the order of the modules from the paths in the source: no module uses one above it in the table of `src/lib.rs`, and no files of
//! `controller`, `pipeline` and others form a cycle, in whatever folder below they are. And the functions of `controller` are short.
//! `cargo test --test structure -- --nocapture` prints the order, each cycle with the paths that close it, and the longest functions.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The top-level modules, lowest first: each may use those before it only.
const ORDER: &[&str] = &[
    "identity",
    "clock",
    "backoff",
    "calendar",
    "bounded_text",
    "history",
    "texts",
    "http_server",
    "telegram",
    "telemetry",
    "store",
    "api",
    "assistant",
    "identity_provider",
    "observation",
    "registry",
    "connection",
    "pipeline",
    "data_api",
    "controller",
    "operator",
    "kube_client",
    "cli",
    "run",
    "dev",
    "commands",
];
/// The modules whose files must not form a cycle.
const ACYCLIC: &[&str] = &[
    "controller",
    "identity_provider",
    "observation",
    "pipeline",
    "texts",
];

/// The most lines of a function in `controller`, its signature and its closing brace included.
const MAX_FUNCTION_LINES: usize = 60;

/// A module by its path below the crate, such as `controller::status`.
type Module = String;
/// What each module uses, with the path as it is written.
type Edges = BTreeMap<Module, BTreeMap<Module, String>>;

#[test]
fn no_module_uses_one_above_it() {
    let edges = collapse(&file_edges(), top_level);
    let rank = |module: &str| ORDER.iter().position(|name| *name == module);
    let mut violations = Vec::new();
    println!("top-level modules, lowest first, and what each uses:");
    for module in ORDER {
        let uses = edges.get(*module).into_iter().flat_map(BTreeMap::keys);
        println!(
            "  {module}: {}",
            uses.cloned().collect::<Vec<_>>().join(" ")
        );
    }
    for (from, uses) in &edges {
        if rank(from).is_none() {
            violations.push(format!("{from} is missing in ORDER"));
        }
        for (to, path) in uses.iter().filter(|(to, _)| rank(to) >= rank(from)) {
            violations.push(format!("{from} uses {to}: {path}"));
        }
    }
    println!("violations: {violations:#?}");
    assert!(violations.is_empty(), "{violations:#?}");
}

#[test]
fn order_is_that_of_the_table_in_lib_rs() {
    let lib = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs");
    let lib = fs::read_to_string(lib).expect("readable");
    let rows = lib.lines().filter_map(|line| line.strip_prefix("//! | "));
    let cells = rows.filter_map(|row| row.split('|').next());
    let names = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    assert_eq!(names.collect::<Vec<_>>(), ORDER);
}

#[test]
fn no_files_of_a_module_form_a_cycle() {
    let edges = file_edges();
    let mut cycles = Vec::new();
    for module in ACYCLIC {
        let inside = |name: &str| name == *module || name.starts_with(&format!("{module}::"));
        let edges: Edges = edges
            .iter()
            .filter(|(from, _)| inside(from))
            .map(|(from, uses)| {
                let uses = uses.iter().filter(|(to, _)| inside(to));
                (
                    from.clone(),
                    uses.map(|(to, path)| (to.clone(), path.clone())).collect(),
                )
            })
            .collect();
        let found = strongly_connected(&edges);
        println!("{module}: {} files, cycles: {found:#?}", edges.len());
        for cycle in &found {
            for from in cycle {
                for (to, path) in edges[from]
                    .iter()
                    .filter(|(to, _)| cycle.contains(to.as_str()))
                {
                    println!("  {from} -> {to} ({path})");
                }
            }
        }
        cycles.extend(found);
    }
    assert!(cycles.is_empty(), "{cycles:#?}");
}

#[test]
fn functions_of_the_controller_are_short() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = BTreeMap::new();
    collect(&source, &mut Vec::new(), &mut files);
    let of_file = |(module, text): (&Module, &String)| {
        let named = |(lines, name)| (lines, format!("{module}::{name}"));
        function_lengths(text).map(named).collect::<Vec<_>>()
    };
    let mut functions: Vec<_> = files.iter().flat_map(of_file).collect();
    functions.sort_by(|a, b| b.cmp(a));
    println!("the longest functions: {:#?}", &functions[..10]);
    functions.retain(|(_, name)| name.starts_with("controller::"));
    println!("of controller: {:#?}", &functions[..5]);
    assert!(functions[0].0 <= MAX_FUNCTION_LINES, "{:?}", functions[0]);
}

/// The functions of a file that rustfmt has formatted: lines and name of each. Its end is the brace below its beginning.
fn function_lengths(text: &str) -> impl Iterator<Item = (usize, String)> {
    let lines: Vec<&str> = text.lines().collect();
    (0..lines.len()).filter_map(move |start| {
        let line = lines[start];
        let code = line.trim_start();
        let indent = &line[..line.len() - code.len()];
        let (before, name) = code.split_once("fn ")?;
        let is_signature = before.split_whitespace().all(|word| {
            matches!(word, "async" | "const" | "unsafe" | "in") || word.starts_with("pub")
        });
        let name: String = name
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect();
        let closing = format!("{indent}}}");
        let after = lines[start..].iter();
        let end = after.clone().position(|line| **line == closing)?;
        // A trait's method without a body ends before any brace does.
        let has_body = after
            .take(end)
            .take_while(|line| !line.ends_with(';') || line.contains('{'))
            .any(|line| line.ends_with('{'));
        (is_signature && has_body && !name.is_empty()).then_some((end + 1, name))
    })
}

fn top_level(module: &str) -> Option<String> {
    let first = module.split("::").next().unwrap_or_default();
    // The crate's root and the program put everything together.
    (!matches!(first, "" | "lib" | "main")).then(|| first.to_owned())
}

fn collapse(edges: &Edges, name: impl Fn(&str) -> Option<String>) -> Edges {
    let mut collapsed = Edges::new();
    for (from, uses) in edges {
        let Some(from) = name(from) else { continue };
        let entry = collapsed.entry(from.clone()).or_default();
        for (to, path) in uses {
            if let Some(to) = name(to).filter(|to| *to != from) {
                entry.entry(to).or_insert_with(|| path.clone());
            }
        }
    }
    collapsed
}

/// Which file uses which: every path that begins with `crate` or `super`, in `use` or in code; tests and comments aside.
fn file_edges() -> Edges {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = BTreeMap::new();
    collect(&source, &mut Vec::new(), &mut files);
    let modules: BTreeSet<&str> = files.keys().map(String::as_str).collect();
    let mut edges = Edges::new();
    for (module, text) in &files {
        let uses = edges.entry(module.clone()).or_default();
        let code = code_of(text);
        let mut named = paths(&code, module);
        named.extend(child_paths(&code, module, &modules));
        for path in named {
            let mut target = path.as_str();
            while !target.is_empty() && !modules.contains(target) {
                target = target.rsplit_once("::").map_or("", |(parent, _)| parent);
            }
            if !target.is_empty() && target != module {
                uses.entry(target.to_owned()).or_insert(path);
            }
        }
    }
    edges
}

fn collect(folder: &Path, path: &mut Vec<String>, files: &mut BTreeMap<Module, String>) {
    for entry in fs::read_dir(folder).expect("readable").flatten() {
        let name = entry.file_name().into_string().expect("a name");
        if entry.path().is_dir() {
            // Tests use what they like.
            if name != "tests" {
                path.push(name);
                collect(&entry.path(), path, files);
                path.pop();
            }
        } else if let Some(stem) = name.strip_suffix(".rs").filter(|stem| *stem != "tests") {
            let mut module = path.clone();
            if stem != "mod" {
                module.push(stem.to_owned());
            }
            files.insert(
                module.join("::"),
                fs::read_to_string(entry.path()).expect("readable"),
            );
        }
    }
}

/// The code without comments, strings and what stands behind `#[cfg(test)]`.
fn code_of(text: &str) -> String {
    let mut code = String::new();
    for line in text.lines() {
        let mut quoted = false;
        let mut escaped = false;
        for (at, c) in line.char_indices() {
            if !quoted && line[at..].starts_with("//") {
                break;
            }
            if c == '"' && !escaped && !line[..at].ends_with('\'') {
                quoted = !quoted;
            } else if !quoted {
                code.push(c);
            }
            escaped = c == '\\' && !escaped;
        }
        code.push('\n');
    }
    while let Some(start) = code.find("#[cfg(test)]") {
        let rest = &code[start..];
        let end = rest.find([';', '{']).unwrap_or(rest.len() - 1);
        let mut depth = 0_usize;
        let mut length = rest.len();
        for (at, c) in rest.char_indices().skip_while(|(at, _)| *at < end) {
            match c {
                '{' => depth += 1,
                '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 && matches!(c, ';' | '}') {
                length = at + 1;
                break;
            }
        }
        code.replace_range(start..start + length, "");
    }
    code
}

/// Every absolute path below the crate that code in `module` names.
fn paths(code: &str, module: &str) -> Vec<String> {
    let mut found = Vec::new();
    for start in ["crate::", "super::", "self::"] {
        for (at, _) in code.match_indices(start) {
            let before = code[..at].chars().next_back().unwrap_or(' ');
            if before.is_alphanumeric() || matches!(before, '_' | ':' | '$') {
                continue;
            }
            let mut base: Vec<&str> = module.split("::").collect();
            let mut rest = &code[at..];
            if start == "crate::" {
                base.clear();
                rest = &rest["crate::".len()..];
            } else {
                rest = rest.strip_prefix("self::").unwrap_or(rest);
                while let Some(more) = rest.strip_prefix("super::") {
                    base.pop();
                    rest = more;
                }
            }
            expand(&base.join("::"), rest, &mut found);
        }
    }
    found
}

/// Every path that begins with a submodule of `module`, as `mod.rs` names its own.
fn child_paths(code: &str, module: &str, modules: &BTreeSet<&str>) -> Vec<String> {
    let prefix = format!("{module}::");
    let children = modules
        .iter()
        .filter_map(|name| name.strip_prefix(&prefix))
        .filter(|child| !child.contains("::"));
    let mut found = Vec::new();
    for child in children {
        for (at, _) in code.match_indices(&format!("{child}::")) {
            let before = code[..at].chars().next_back().unwrap_or(' ');
            if !before.is_alphanumeric() && !matches!(before, '_' | ':' | '$') {
                expand(module, &code[at..], &mut found);
            }
        }
    }
    found
}

/// The paths of a tree such as `a::{b, c::d}`.
fn expand(base: &str, tree: &str, found: &mut Vec<String>) {
    let join = |name: &str| {
        if base.is_empty() {
            name.to_owned()
        } else {
            format!("{base}::{name}")
        }
    };
    if let Some(inner) = tree.strip_prefix('{') {
        let mut depth = 0_usize;
        let mut start = 0;
        for (at, c) in inner.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth > 0 => depth -= 1,
                ',' | '}' if depth == 0 => {
                    let part = inner[start..at].trim();
                    if !part.is_empty() {
                        expand(base, part, found);
                    }
                    start = at + 1;
                    if c == '}' {
                        return;
                    }
                }
                _ => {}
            }
        }
        return;
    }
    let end = tree
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(tree.len());
    let name = &tree[..end];
    match tree[end..].strip_prefix("::") {
        Some(rest) if !rest.starts_with('<') => expand(&join(name), rest, found),
        _ if name == "self" || name.is_empty() => found.push(base.to_owned()),
        _ => found.push(join(name)),
    }
}

/// Sets of modules that reach each other, of more than one module.
fn strongly_connected(edges: &Edges) -> Vec<BTreeSet<Module>> {
    let reach = |start: &Module| {
        let mut seen = BTreeSet::new();
        let mut open = vec![start];
        while let Some(next) = open.pop() {
            for to in edges.get(next).into_iter().flat_map(BTreeMap::keys) {
                if seen.insert(to.clone()) {
                    open.push(to);
                }
            }
        }
        seen
    };
    let reached: BTreeMap<&Module, BTreeSet<Module>> =
        edges.keys().map(|m| (m, reach(m))).collect();
    let mut components = BTreeSet::new();
    for (module, set) in &reached {
        if set.contains(*module) {
            components.insert(
                set.iter()
                    .filter(|to| reached.get(to).is_some_and(|s| s.contains(*module)))
                    .cloned()
                    .collect::<BTreeSet<_>>(),
            );
        }
    }
    components.into_iter().collect()
}
