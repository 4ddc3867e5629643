//! The output of `kubectl get`: requests a collection as a `Table` and formats it as kubectl does.

use kube::Client;
use serde::Deserialize;
use serde_json::Value;

/// The `Accept` header of `kubectl get`.
const ACCEPT: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Table {
    column_definitions: Vec<Column>,
    #[serde(default)]
    rows: Vec<Row>,
}

#[derive(Debug, Deserialize)]
struct Column {
    name: String,
    #[serde(default)]
    priority: i32,
}

#[derive(Debug, Deserialize)]
struct Row {
    cells: Vec<Value>,
}

/// The table of the collection at an API path, such as `/apis/connectors.pupau.ai/v1alpha1/namespaces/acme/telegramconnectors`;
/// `wide` as in `-o wide`.
///
/// # Errors
/// The request fails, or the response is no `Table`.
pub async fn render(client: &Client, path: &str, wide: bool) -> Result<String, kube::Error> {
    Ok(format_table(&read(client, path).await?, wide))
}

/// The rows of the collection at an API path: name and value of each column that is shown without `-o wide`.
///
/// # Errors
/// As [`render`].
pub(super) async fn rows(
    client: &Client,
    path: &str,
) -> Result<Vec<Vec<(String, String)>>, kube::Error> {
    let table = read(client, path).await?;
    let row = |row: &Row| {
        let cells = table.column_definitions.iter().zip(&row.cells);
        cells
            .filter(|(column, _)| column.priority == 0)
            .map(|(column, cell)| (column.name.clone(), format_cell(Some(cell))))
            .collect()
    };
    Ok(table.rows.iter().map(row).collect())
}

async fn read(client: &Client, path: &str) -> Result<Table, kube::Error> {
    let request = http::Request::get(path)
        .header(http::header::ACCEPT, ACCEPT)
        .body(Vec::new())
        .map_err(kube::Error::HttpError)?;
    client.request(request).await
}

/// kubectl's layout: upper-case headings, three spaces between columns, `<none>` for an empty cell.
fn format_table(table: &Table, wide: bool) -> String {
    let shown: Vec<usize> = (0..table.column_definitions.len())
        .filter(|&i| wide || table.column_definitions[i].priority == 0)
        .collect();
    let heading = shown
        .iter()
        .map(|&i| table.column_definitions[i].name.to_uppercase())
        .collect();
    let mut lines: Vec<Vec<String>> = vec![heading];
    lines.extend(table.rows.iter().map(|row| {
        shown
            .iter()
            .map(|&i| format_cell(row.cells.get(i)))
            .collect()
    }));
    let widths: Vec<usize> = (0..shown.len())
        .map(|column| {
            lines
                .iter()
                .map(|line| line[column].chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for line in &lines {
        let padded: Vec<String> = line
            .iter()
            .zip(&widths)
            .map(|(value, &width)| format!("{value:width$}"))
            .collect();
        text.push_str(padded.join("   ").trim_end());
        text.push('\n');
    }
    text
}

fn format_cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "<none>".into(),
        Some(Value::String(s)) if s.is_empty() => "<none>".into(),
        Some(Value::String(s)) => s.clone(),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_formatted_like_kubectl() {
        let table = Table {
            column_definitions: vec![
                Column {
                    name: "Name".into(),
                    priority: 0,
                },
                Column {
                    name: "Users".into(),
                    priority: 1,
                },
                Column {
                    name: "Ready".into(),
                    priority: 0,
                },
            ],
            rows: vec![
                Row {
                    cells: vec!["support".into(), 3.into(), "True".into()],
                },
                Row {
                    cells: vec!["it".into(), Value::Null, Value::Null],
                },
            ],
        };
        assert_eq!(
            format_table(&table, false),
            "NAME      READY\nsupport   True\nit        <none>\n"
        );
        assert_eq!(
            format_table(&table, true),
            "NAME      USERS    READY\nsupport   3        True\nit        <none>   <none>\n"
        );
    }
}
