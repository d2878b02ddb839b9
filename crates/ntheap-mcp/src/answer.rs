//! Answers, cut to what an agent has room for.

use ntheap::printable::printable;
use rmcp::model::{CallToolResult, ContentBlock};
use serde_json::{Map, Value, json};

use crate::fault::Fault;

/// Bytes of JSON that an answer has at most, its text and its structured content together.
pub(crate) const MOST_BYTES: usize = 4000;

/// Bytes of a text in an answer.
const MOST_TEXT: usize = 160;

/// What a tool found, whole.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    /// The result in words.
    pub(crate) words: String,
    /// What else is to be known of all rows.
    pub(crate) facts: Map<String, Value>,
    /// The rows, the most important first.
    pub(crate) rows: Vec<Row>,
}

/// A row: for readers of text, and for readers of data.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) line: String,
    pub(crate) data: Value,
}

impl Answer {
    pub(crate) fn of(words: String) -> Self {
        Answer {
            words,
            ..Answer::default()
        }
    }

    pub(crate) fn fact(&mut self, name: &str, value: impl Into<Value>) {
        self.facts.insert(name.to_owned(), value.into());
    }

    pub(crate) fn row(&mut self, line: String, data: Value) {
        self.rows.push(Row { line, data });
    }

    /// The page that begins with a row: the words and facts stand on the first.
    pub(crate) fn page(&self, start: usize) -> CallToolResult {
        let rows = self.rows.get(start..).unwrap_or_default();
        let mut facts = Map::new();
        let mut words = String::new();
        if start == 0 {
            words = long_clip(&self.words, 5 * MOST_TEXT);
            facts = self.facts.clone();
            facts.values_mut().for_each(clip_all);
        }
        let rows: Vec<Row> = rows
            .iter()
            .take(MOST_BYTES / 8)
            .map(|row| {
                let mut data = row.data.clone();
                clip_all(&mut data);
                let line = long_clip(&row.line, 3 * MOST_TEXT);
                Row { line, data }
            })
            .collect();
        // As many rows as fit; sizes grow with their number.
        let fits = |count: usize| {
            let page = self.cut(start, count, &words, &facts, &rows);
            serde_json::to_vec(&page).is_ok_and(|json| json.len() <= MOST_BYTES)
        };
        let (mut low, mut high) = (0, rows.len());
        while low < high {
            let middle = (low + high).div_ceil(2);
            match fits(middle) {
                true => low = middle,
                false => high = middle - 1,
            }
        }
        // A row that fits nowhere must not stop the reader for ever.
        if low == 0 && !rows.is_empty() {
            let text = long_clip(&rows[0].line, MOST_TEXT);
            let rows = [Row {
                line: text.clone(),
                data: json!({ "text": text }),
            }];
            return self.cut(
                start,
                1,
                &long_clip(&words, 2 * MOST_TEXT),
                &Map::new(),
                &rows,
            );
        }
        self.cut(start, low, &words, &facts, &rows)
    }

    fn cut(
        &self,
        start: usize,
        count: usize,
        words: &str,
        facts: &Map<String, Value>,
        rows: &[Row],
    ) -> CallToolResult {
        let rows = &rows[..count];
        let end = start + count;
        let rest = self.rows.len().saturating_sub(end);
        let mut data = facts.clone();
        let mut text = words.to_owned();
        if start == 0 {
            data.insert("answer".to_owned(), words.into());
        }
        for row in rows {
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(&row.line);
        }
        data.insert(
            "rows".to_owned(),
            rows.iter().map(|row| row.data.clone()).collect(),
        );
        data.insert("row_count".to_owned(), self.rows.len().into());
        if rest > 0 {
            data.insert("cursor".to_owned(), end.to_string().into());
            text.push_str(&format!("\n({rest} more rows: cursor \"{end}\")"));
        }
        if text.is_empty() {
            text.push_str("no more rows");
        }
        let mut result = CallToolResult::structured(Value::Object(data));
        result.content = vec![ContentBlock::text(text)];
        result
    }
}

/// A fault as an answer.
pub(crate) fn refusal(fault: &Fault) -> CallToolResult {
    let message = long_clip(&fault.message, 3 * MOST_TEXT);
    let mut error = json!({"kind": fault.kind.name(), "message": message});
    let mut text = format!("{}: {message}", fault.kind.name());
    if let Some(hint) = fault.hint {
        error["hint"] = hint.into();
        text.push_str(&format!(" ({hint})"));
    }
    let mut result = CallToolResult::structured_error(json!({ "error": error }));
    result.content = vec![ContentBlock::text(text)];
    result
}

/// A text of a dump, harmless and no longer than there is room for.
pub(crate) fn clip(text: &str) -> String {
    long_clip(text, MOST_TEXT)
}

/// Cuts so that the JSON form of the text has at most so many bytes.
fn long_clip(text: &str, most: usize) -> String {
    let cost = |c: char| match c {
        '"' | '\\' | '\n' | '\t' => 2,
        c => c.len_utf8(),
    };
    let mut out = String::with_capacity(text.len().min(most));
    let mut used = 0;
    // Lines of our own stay, all else that drives a terminal is shown as what it is.
    for (number, line) in text.split('\n').enumerate() {
        let line = printable(line);
        let broken = if number > 0 { "\n" } else { "" };
        for c in broken.chars().chain(line.chars()) {
            used += cost(c);
            if used + 3 > most {
                out.push('…');
                return out;
            }
            out.push(c);
        }
    }
    out
}

/// Cuts every text, and lists that are longer than anyone reads.
fn clip_all(value: &mut Value) {
    const MOST_ITEMS: usize = 12;
    match value {
        Value::String(text) => *text = long_clip(text, 2 * MOST_TEXT),
        Value::Array(items) => {
            items.truncate(MOST_ITEMS);
            items.iter_mut().for_each(clip_all);
        }
        Value::Object(fields) => fields.values_mut().for_each(clip_all),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(result: &CallToolResult) -> usize {
        serde_json::to_vec(result).expect("JSON").len()
    }

    #[test]
    fn pages_are_small_and_lose_no_row() {
        let mut answer = Answer::of("Zeilen \u{1b}[31m\"".repeat(400));
        answer.fact("complete", true);
        answer.fact("losses", vec!["\\\"\u{202e}".repeat(500); 40]);
        for number in 0..500 {
            let text = "x\\\"é".repeat(number % 90);
            answer.row(
                format!("{number} {text}"),
                json!({"n": number, "text": text}),
            );
        }
        let mut seen = Vec::new();
        let mut start = 0;
        loop {
            let page = answer.page(start);
            assert!(size(&page) <= MOST_BYTES, "{}", size(&page));
            let data = page.structured_content.expect("data");
            for row in data["rows"].as_array().expect("rows") {
                seen.push(row["n"].as_u64());
            }
            let Some(cursor) = data["cursor"].as_str() else {
                break;
            };
            let next = cursor.parse().expect("a number");
            assert!(next > start);
            start = next;
        }
        // A row beside facts that leave no room is but text.
        let missing = seen.iter().filter(|number| number.is_none()).count();
        assert!(missing <= 1 && seen.len() == 500);
    }

    #[test]
    fn a_row_that_is_too_large_is_cut() {
        let mut answer = Answer::of("words".to_owned());
        let huge: Map<String, Value> = (0..500)
            .map(|number| (format!("field{number}"), Value::from("y".repeat(300))))
            .collect();
        answer.row("z".repeat(9000), Value::Object(huge));
        answer.row("next".to_owned(), json!({"n": 2}));
        let page = answer.page(0);
        assert!(size(&page) <= MOST_BYTES);
        let data = page.structured_content.expect("data");
        assert_eq!(data["cursor"], "1");
    }

    #[test]
    fn a_cursor_behind_the_end_has_no_rows() {
        let page = Answer::of("words".to_owned()).page(usize::MAX);
        let data = page.structured_content.expect("data");
        assert_eq!(data["rows"], json!([]));
        assert!(data.get("cursor").is_none());
    }
}
