//! Names of fields in CEL rules, as `kube-cel` looks them up.
//!
//! The API server escapes `__` in a field's name and leaves a single `_` alone; `kube-cel` 0.8 doubles every `_`, so that it never finds
//! `self.max_tokens`. The rules are rewritten before they are compiled: there the names of fields have their underscores doubled, too.

use serde_json::Value;

/// The schema with its rules rewritten.
pub(super) fn with_doubled_underscores(schema: &Value) -> Value {
    let mut schema = schema.clone();
    rewrite_rules(&mut schema);
    schema
}

fn rewrite_rules(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            for (name, child) in fields {
                match child.as_array_mut() {
                    Some(rules) if name == "x-kubernetes-validations" => {
                        rules.iter_mut().for_each(rewrite_rule);
                    }
                    _ => rewrite_rules(child),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(rewrite_rules),
        _ => {}
    }
}

fn rewrite_rule(rule: &mut Value) {
    for key in ["rule", "messageExpression"] {
        if let Some(Value::String(expression)) = rule.get_mut(key) {
            *expression = double_underscores_of_fields(expression);
        }
    }
}

/// An expression whose fields (names after a dot that are no functions) have each lone underscore doubled.
fn double_underscores_of_fields(expression: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut rewritten = String::with_capacity(expression.len());
    let mut quote = None;
    let mut rest = expression;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        rewritten.push(c);
        match quote {
            Some(_) if c == '\\' => {
                if let Some(escaped) = rest.chars().next() {
                    rest = &rest[escaped.len_utf8()..];
                    rewritten.push(escaped);
                }
            }
            Some(end) if c == end => quote = None,
            Some(_) => {}
            None if c == '\'' || c == '"' => quote = Some(c),
            None if c == '.' => {
                let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
                let (name, after) = rest.split_at(length);
                if after.trim_start().starts_with('(') {
                    rewritten.push_str(name);
                } else {
                    push_with_doubled_underscores(&mut rewritten, name);
                }
                rest = after;
            }
            None => {}
        }
    }
    rewritten
}

fn push_with_doubled_underscores(text: &mut String, name: &str) {
    let mut previous = None;
    let mut characters = name.chars().peekable();
    while let Some(c) = characters.next() {
        text.push(c);
        if c == '_' && previous != Some('_') && characters.peek() != Some(&'_') {
            text.push('_');
        }
        previous = Some(c);
    }
}

#[cfg(test)]
mod tests {
    use super::double_underscores_of_fields;

    #[test]
    fn only_lone_underscores_of_field_names_are_doubled() {
        for (written, rewritten) in [
            ("!has(self.max_tokens)", "!has(self.max__tokens)"),
            ("self.a_b.c_d == 'x.y_z'", "self.a__b.c__d == 'x.y_z'"),
            (r#"self.x != "it\".s_o""#, r#"self.x != "it\".s_o""#),
            (
                "self.all(a_b, self.exists_one(c, a_b.d == c.d))",
                "self.all(a_b, self.exists_one(c, a_b.d == c.d))",
            ),
            ("self.foo__dash__bar_x", "self.foo__dash__bar__x"),
        ] {
            assert_eq!(double_underscores_of_fields(written), rewritten);
        }
    }
}
