//! `ntheap mcp` as agents use it: a client that asks questions whose answers are known.
#![cfg(feature = "mcp")]

use std::{
    collections::HashMap,
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use ntheap_synth::oracle::workspace;
use serde_json::{Value, json};

/// Calls in which each question must be answered.
const MOST_CALLS: usize = 4;
/// Bytes of all definitions, and of one answer.
const MOST_DEFINITIONS: usize = 6 << 10;
const MOST_ANSWER: usize = 4 << 10;

/// A client that speaks the protocol line by line.
struct Client {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    number: u64,
    calls: usize,
}

impl Client {
    fn start(folder: &Path, options: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_ntheap"))
            .arg("mcp")
            .arg(folder)
            .args(options)
            .env_remove("_NT_SYMBOL_PATH")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("its output"));
        let mut client = Client {
            child,
            input,
            output,
            number: 0,
            calls: 0,
        };
        let about = client.ask(
            "initialize",
            json!({
                "protocolVersion": "2025-06-18",
                "capabilities": {},
                "clientInfo": {"name": "test", "version": "1"}
            }),
        );
        assert_eq!(about["result"]["serverInfo"]["name"], "ntheap", "{about}");
        client.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        client
    }

    fn send(&mut self, message: &Value) {
        let input = self.input.as_mut().expect("open");
        writeln!(input, "{message}").expect("the server reads");
    }

    fn ask(&mut self, method: &str, parameters: Value) -> Value {
        self.number += 1;
        let id = self.number;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": parameters}));
        loop {
            let mut line = String::new();
            let length = self.output.read_line(&mut line).expect("the server writes");
            assert_ne!(length, 0, "the server ended");
            let answer: Value = serde_json::from_str(&line).expect("a line of JSON");
            if answer["id"] == id {
                return answer;
            }
        }
    }

    /// What a tool answers, which is never long and says the same as text.
    fn call(&mut self, tool: &str, arguments: Value) -> Value {
        self.calls += 1;
        let answer = self.ask("tools/call", json!({"name": tool, "arguments": arguments}));
        let result = &answer["result"];
        let size = result.to_string().len();
        assert!(size <= MOST_ANSWER, "{tool}: {size} bytes");
        let text = result["content"][0]["text"].as_str().expect("text");
        assert!(!text.is_empty());
        let data = result["structuredContent"].clone();
        assert!(data.is_object(), "{tool}: {answer}");
        assert_eq!(result["isError"] == true, data.get("error").is_some());
        data
    }

    fn fault(&mut self, tool: &str, arguments: Value) -> String {
        let answer = self.call(tool, arguments);
        let kind = answer["error"]["kind"].as_str();
        kind.unwrap_or_else(|| panic!("no fault: {answer}"))
            .to_owned()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // The server ends with its input.
        drop(self.input.take());
        let status = self.child.wait().expect("it ends");
        if !std::thread::panicking() {
            assert!(status.success(), "{status}");
        }
    }
}

/// The truth about a sample dump.
struct Truth(Value);

impl Truth {
    fn of(name: &str) -> Self {
        let path = workspace()
            .join("testdata")
            .join(format!("{name}.truth.json.zst"));
        let bytes = zstd::decode_all(fs::File::open(path).expect("a truth")).expect("zstd");
        Truth(serde_json::from_slice(&bytes).expect("JSON"))
    }

    fn rows(&self, table: &str, columns: &str) -> Vec<HashMap<String, Value>> {
        let names: Vec<&str> = self.0[columns]
            .as_array()
            .expect("columns")
            .iter()
            .filter_map(Value::as_str)
            .collect();
        let rows = self.0[table].as_array().expect("rows").iter();
        rows.map(|row| {
            let values = row.as_array().expect("a row").iter();
            names
                .iter()
                .map(|name| (*name).to_owned())
                .zip(values.cloned())
                .collect()
        })
        .collect()
    }

    fn allocations(&self) -> Vec<HashMap<String, Value>> {
        self.rows("allocations", "allocation_columns")
    }

    fn leaks(&self) -> Vec<HashMap<String, Value>> {
        self.rows("leaks", "leak_columns")
    }

    fn of_size(&self, size: u64) -> i64 {
        let all = self.allocations();
        all.iter().filter(|one| one["requested"] == size).count() as i64
    }

    fn heap_bytes(&self) -> HashMap<String, i64> {
        let mut sums = HashMap::new();
        let heaps = self.0["heaps"].as_array().expect("heaps");
        for heap in heaps {
            sums.insert(hex(&heap["handle"]), 0);
        }
        for one in self.allocations() {
            let heap = &heaps[one["heap"].as_u64().expect("a number") as usize];
            *sums.entry(hex(&heap["handle"])).or_default() +=
                one["requested"].as_i64().expect("bytes");
        }
        sums
    }

    fn of_type(&self, name: &str) -> Vec<HashMap<String, Value>> {
        let all = self.leaks().into_iter();
        all.filter(|one| one["type"] == name).collect()
    }
}

fn hex(value: &Value) -> String {
    format!("{:#x}", value.as_u64().expect("an address"))
}

fn has(value: &Value, text: &str) -> bool {
    value.to_string().contains(text)
}

fn rows(answer: &Value) -> &Vec<Value> {
    answer["rows"].as_array().expect("rows")
}

/// A question: what is asked, and whether the calls that an agent makes bring the known answer.
type Question<'q> = (&'q str, Box<dyn Fn(&mut Client) -> bool + 'q>);

const BEFORE: &str = "19041.662-smallust.snap1.dmp.zst";
const AFTER: &str = "19041.662-smallust.snap2.dmp.zst";
const DEPOT: &str = "types/19041.662-depot.snap1.dmp.zst";
const LATER: &str = "types/19041.662-depot.snap5.dmp.zst";
const XP: &str = "x86-2600.5512-small.snap1.dmp.zst";
const SEGMENT: &str = "22000.778-smallsegust.snap1.dmp.zst";

#[test]
fn twenty_questions_are_answered_in_four_calls() {
    let (before, after) = (
        Truth::of("19041.662-smallust.snap1"),
        Truth::of("19041.662-smallust.snap2"),
    );
    let (depot, later) = (
        Truth::of("types/19041.662-depot.snap1"),
        Truth::of("types/19041.662-depot.snap5"),
    );
    let xp = Truth::of("x86-2600.5512-small.snap1");
    let (bytes, bytes_after) = (before.heap_bytes(), after.heap_bytes());
    let grown = bytes_after
        .iter()
        .map(|(heap, now)| (now - bytes[heap], heap));
    let (growth, grown) = grown.max().expect("heaps");
    let (most, largest) = bytes
        .iter()
        .map(|(heap, held)| (*held, heap))
        .max()
        .expect("heaps");
    let lost: Vec<_> = later
        .of_type("class depot::Session")
        .into_iter()
        .filter(|one| one["default"] == "definite")
        .collect();
    let some = &before.allocations()[700];
    let (sessions, sessions_later) = (
        depot.of_type("class depot::Session"),
        later.of_type("class depot::Session"),
    );
    let both = json!({"dumps": [BEFORE, AFTER]});

    let questions: Vec<Question<'_>> = vec![
        (
            "Which dumps are there?",
            Box::new(|client| {
                let first = client.call("open", json!({}));
                let next = client.call("open", json!({"path": "types"}));
                has(&first, "19041.662-smallust.snap1.dmp.zst") && has(&next, "depot.snap5")
            }),
        ),
        (
            "Which program is it?",
            Box::new(|client| {
                let answer = client.call("open", json!({"path": BEFORE}));
                answer["program"] == "ordersvc.exe" && answer["pid"] == before.0["pid"]
            }),
        ),
        (
            "How many heaps has it, and how many blocks?",
            Box::new(|client| {
                let answer = client.call("open", json!({"path": BEFORE}));
                answer["heaps"] == before.0["heaps"].as_array().expect("heaps").len()
                    && answer["blocks"] == before.allocations().len()
            }),
        ),
        (
            "Which Windows, how wide?",
            Box::new(|client| {
                let answer = client.call("open", json!({"path": XP}));
                answer["build"] == 2600 && answer["bits"] == 32
            }),
        ),
        (
            "Why are there no stacks, and how can I get them?",
            Box::new(|client| {
                let answer = client.call("open", json!({"path": XP}));
                answer["blocks_with_stacks"] == 0 && has(&answer, "gflags /i ordersvc.exe +ust")
            }),
        ),
        (
            "Which heap is the largest?",
            Box::new(|client| {
                let answer = client.call("heaps", json!({"dump": BEFORE}));
                rows(&answer)[0]["heap"] == **largest && rows(&answer)[0]["bytes"] == most
            }),
        ),
        (
            "Which heap grew?",
            Box::new(|client| {
                let answer = client.call("heaps", json!({"dump": BEFORE, "after": AFTER}));
                rows(&answer)[0]["heap"] == **grown && rows(&answer)[0]["delta_bytes"] == growth
            }),
        ),
        (
            "Which function leaks?",
            Box::new(|client| {
                let answer = client.call("verdict", both.clone());
                has(&rows(&answer)[0]["frames"], "app::parse::MakeStringBuffer")
            }),
        ),
        (
            "How sure is it, and how many of the new blocks are lost?",
            Box::new(|client| {
                let answer = client.call("verdict", both.clone());
                let first = &rows(&answer)[0];
                first["confidence"] == "high"
                    && first["lost_blocks"] == 42
                    && first["of_new_blocks"] == 42
            }),
        ),
        (
            "Which size has most new blocks?",
            Box::new(|client| {
                let given = json!({"dump": BEFORE, "after": AFTER, "by": "blocks"});
                let answer = client.call("sizes", given);
                let first = &rows(&answer)[0];
                first["size"] == 0x30
                    && first["delta_blocks"] == after.of_size(0x30) - before.of_size(0x30)
            }),
        ),
        (
            "How many blocks of 0x30 bytes are there?",
            Box::new(|client| {
                let answer = client.call("sizes", json!({"dump": AFTER, "by": "blocks"}));
                rows(&answer)
                    .iter()
                    .any(|row| row["size"] == 0x30 && row["blocks"] == after.of_size(0x30))
            }),
        ),
        (
            "Where do the new ones come from?",
            Box::new(|client| {
                let given = json!({"dump": BEFORE, "after": AFTER, "size": "0x30"});
                let answer = client.call("stacks", given);
                has(&rows(&answer)[0]["frames"], "MakeStringBuffer")
            }),
        ),
        (
            "What do blocks of one heap come from?",
            Box::new(|client| {
                let heaps = client.call("heaps", json!({"dump": BEFORE, "after": AFTER}));
                let given = json!({"dump": AFTER, "heap": rows(&heaps)[0]["heap"]});
                let answer = client.call("stacks", given);
                has(&answer, "app::orders::NewOrder")
            }),
        ),
        (
            "What lies at this address?",
            Box::new(|client| {
                let address = hex(&some["address"]);
                let answer = client.call("block", json!({"dump": BEFORE, "address": address}));
                let heap = some["heap"].as_u64().expect("a number") as usize;
                answer["size"] == some["requested"]
                    && answer["heap"] == hex(&before.0["heaps"][heap]["handle"])
            }),
        ),
        (
            "Can the answers be relied on?",
            Box::new(|client| client.call("open", json!({"path": BEFORE}))["complete"] == true),
        ),
        (
            "Which heaps are segment heaps?",
            Box::new(|client| has(&client.call("heaps", json!({"dump": SEGMENT})), "segment")),
        ),
        (
            "What is lost, in one dump?",
            Box::new(|client| {
                let answer = client.call("verdict", json!({"dumps": [LATER]}));
                let first = &rows(&answer)[0];
                first["type"] == "depot::Session" && first["blocks"] == lost.len()
            }),
        ),
        (
            "How many sessions are alive?",
            Box::new(|client| {
                let answer = client.call("types", json!({"dump": LATER, "type": "depot::Session"}));
                rows(&answer)[0]["blocks"] == sessions_later.len()
            }),
        ),
        (
            "How many more than before?",
            Box::new(|client| {
                let given = json!({"dump": DEPOT, "after": LATER, "type": "depot::Session"});
                let answer = client.call("types", given);
                rows(&answer)[0]["delta_blocks"] == sessions_later.len() - sessions.len()
            }),
        ),
        (
            "Is this session lost?",
            Box::new(|client| {
                let address = hex(&lost[0]["user_address"]);
                let answer = client.call("block", json!({"dump": LATER, "address": address}));
                answer["class"] == "definite" && answer["type"] == "depot::Session"
            }),
        ),
        (
            "Who keeps the listeners?",
            Box::new(|client| {
                let keeper = hex(&later.of_type("class depot::Listener")[0]["dominator"]);
                let answer =
                    client.call("owners", json!({"dump": LATER, "type": "depot::Listener"}));
                rows(&answer)
                    .iter()
                    .any(|row| row["what"] == "keeper" && row["block"] == *keeper)
            }),
        ),
        (
            "Does the process of XP hold what its allocations say?",
            Box::new(|client| {
                let answer = client.call("heaps", json!({"dump": XP}));
                let sums = xp.heap_bytes();
                rows(&answer).iter().all(|row| {
                    sums[row["heap"].as_str().expect("a heap")]
                        == row["bytes"].as_i64().expect("bytes")
                })
            }),
        ),
    ];
    assert!(questions.len() >= 20);
    let symbols = workspace().join("testdata/symbols").display().to_string();
    let mut client = Client::start(&workspace().join("testdata"), &["--symbols", &symbols]);
    for (question, answer) in questions {
        client.calls = 0;
        assert!(answer(&mut client), "{question}");
        assert!(
            client.calls <= MOST_CALLS,
            "{question}: {} calls",
            client.calls
        );
    }
}

#[test]
fn definitions_are_few_and_short() {
    let mut client = Client::start(&workspace().join("testdata"), &[]);
    let answer = client.ask("tools/list", json!({}));
    let tools = answer["result"]["tools"].as_array().expect("tools");
    let names: Vec<&str> = tools
        .iter()
        .filter_map(|tool| tool["name"].as_str())
        .collect();
    assert_eq!(
        names,
        [
            "open", "verdict", "heaps", "sizes", "stacks", "types", "block", "owners"
        ]
    );
    let size = answer["result"]["tools"].to_string().len();
    assert!(size <= MOST_DEFINITIONS, "{size} bytes");
    for tool in tools {
        assert_eq!(tool["annotations"]["readOnlyHint"], true);
        jsonschema::validator_for(&tool["inputSchema"]).expect("a schema");
    }
}

#[test]
fn every_page_is_short_and_no_row_is_lost() {
    let mut client = Client::start(&workspace().join("testdata"), &[]);
    let calls = [
        ("sizes", json!({"dump": AFTER})),
        ("stacks", json!({"dump": BEFORE, "after": AFTER})),
        ("types", json!({"dump": LATER})),
        ("verdict", json!({"dumps": [LATER]})),
        ("verdict", json!({"dumps": [DEPOT, LATER]})),
        ("owners", json!({"dump": LATER, "size": 0x30})),
        ("open", json!({})),
    ];
    for (tool, mut arguments) in calls {
        let mut seen = 0;
        let mut first = None;
        loop {
            // The length is checked by the client.
            let page = client.call(tool, arguments.clone());
            let count = page["row_count"].as_u64().expect("a number");
            assert_eq!(*first.get_or_insert(count), count, "{tool}");
            seen += rows(&page).len() as u64;
            let Some(cursor) = page.get("cursor") else {
                break;
            };
            assert!(!rows(&page).is_empty(), "{tool}: no progress");
            arguments["cursor"] = cursor.clone();
        }
        assert_eq!(Some(seen), first, "{tool}");
    }
}

#[test]
fn faults_have_kinds() {
    let home = tempfile::tempdir().expect("a folder");
    let folder = home.path().join("dumps");
    fs::create_dir(&folder).expect("a folder");
    fs::write(home.path().join("secret.dmp"), "MDMP secret").expect("a file");
    fs::write(folder.join("text.dmp"), "no dump").expect("a file");
    fs::copy(
        workspace().join("testdata").join(XP),
        folder.join("xp.dmp.zst"),
    )
    .expect("a copy");
    let mut client = Client::start(&folder, &[]);
    assert_eq!(
        client.fault("open", json!({"path": "none.dmp"})),
        "no-such-file"
    );
    assert_eq!(
        client.fault("open", json!({"path": "text.dmp"})),
        "not-a-dump"
    );
    assert_eq!(
        client.fault("open", json!({"path": "../secret.dmp"})),
        "outside-folders"
    );
    assert_eq!(
        client.fault("open", json!({"path": "../nothing.dmp"})),
        "outside-folders"
    );
    let absolute = home.path().join("secret.dmp").display().to_string();
    assert_eq!(
        client.fault("sizes", json!({"dump": absolute})),
        "outside-folders"
    );
    assert_eq!(
        client.fault("verdict", json!({"dumps": ["xp.dmp.zst", "../secret.dmp"]})),
        "outside-folders"
    );
    assert_eq!(client.fault("sizes", json!({})), "bad-argument");
    assert_eq!(
        client.fault("sizes", json!({"dump": "xp.dmp.zst", "path": "x"})),
        "bad-argument"
    );
    assert_eq!(
        client.fault("sizes", json!({"dump": "xp.dmp.zst", "by": "age"})),
        "bad-argument"
    );
    assert_eq!(
        client.fault("owners", json!({"dump": "xp.dmp.zst"})),
        "bad-argument"
    );
    assert_eq!(
        client.fault("stacks", json!({"dump": "xp.dmp.zst", "heap": "1234"})),
        "no-such-heap"
    );
    assert_eq!(
        client.fault("block", json!({"dump": "xp.dmp.zst", "address": "10"})),
        "no-such-block"
    );
    assert_eq!(
        client.fault("owners", json!({"dump": "xp.dmp.zst", "size": 987_654_321})),
        "no-such-block"
    );
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("../secret.dmp", folder.join("link.dmp")).expect("a link");
        assert_eq!(
            client.fault("open", json!({"path": "link.dmp"})),
            "outside-folders"
        );
    }
    let unknown = client.ask("tools/call", json!({"name": "delete", "arguments": {}}));
    assert!(unknown["error"]["code"].is_number(), "{unknown}");
    // What follows is answered all the same.
    assert_eq!(
        client.call("open", json!({"path": "xp.dmp.zst"}))["bits"],
        32
    );
}

#[test]
fn a_file_that_was_replaced_is_read_anew() {
    let home = tempfile::tempdir().expect("a folder");
    let place = home.path().join("a.dmp.zst");
    let testdata = workspace().join("testdata");
    fs::copy(testdata.join(XP), &place).expect("a copy");
    let mut client = Client::start(home.path(), &[]);
    assert_eq!(
        client.call("open", json!({"path": "a.dmp.zst"}))["build"],
        2600
    );
    fs::remove_file(&place).expect("it goes");
    fs::copy(testdata.join(BEFORE), &place).expect("a copy");
    assert_eq!(
        client.call("open", json!({"path": "a.dmp.zst"}))["build"],
        19041
    );
}

#[test]
fn private_answers_hold_no_contents() {
    let truth = Truth::of("19041.662-smallust.snap1");
    let address = hex(&truth.allocations()[700]["address"]);
    let given = json!({"dump": BEFORE, "address": address});
    let testdata = workspace().join("testdata");
    let mut open = Client::start(&testdata, &[]);
    assert!(open.call("block", given.clone())["first_bytes"].is_string());
    let mut private = Client::start(&testdata, &["--private"]);
    assert!(private.call("block", given).get("first_bytes").is_none());
}
