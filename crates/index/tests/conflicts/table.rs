//! What a row is, how it is checked, and how it is written down.

use std::path::PathBuf;

use crate::common::{Device, normal};
use crate::{directories, files, names, parents};

/// Two operations made apart from each other, and what is shown once everybody knows both.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// What was done before, seen by all.
    pub(crate) before: &'static str,
    pub(crate) one: &'static str,
    /// Made later by the clock than `one`.
    pub(crate) other: &'static str,
    pub(crate) shown: &'static [&'static str],
    pub(crate) why: &'static str,
}

/// Rows in which nothing but the devices' identities decides: when they change places, so do the
/// words `one` and `two` in what is shown.
const BY_DEVICE: &[&str] = &["retarget_and_retarget"];

/// Checks the row with this name: whichever device does which of the two, and whichever arrives
/// first, every device shows what the row says.
pub(crate) fn check(name: &str, rows: &[Row]) {
    let row = rows.iter().find(|row| row.name == name).expect("the row declares its test");
    for swapped in [false, true] {
        let (mut a, mut b) = (Device::new(1), Device::new(2));
        // Two bystanders get the operations in different orders.
        let (mut c, mut d) = (Device::new(3), Device::new(4));
        a.act(row.before);
        for device in [&mut b, &mut c, &mut d] {
            device.pull(&a);
        }
        a.pull(&b);
        let (first, second) = if swapped { (row.other, row.one) } else { (row.one, row.other) };
        (a.now, b.now) = if swapped { (90_000, 50_000) } else { (50_000, 90_000) };
        a.act(first);
        b.act(second);
        c.pull(&a);
        c.pull(&b);
        d.pull(&b);
        d.pull(&a);
        a.pull(&d);
        b.pull(&c);
        for device in [&mut a, &mut b, &mut c, &mut d] {
            let view = device.view();
            let mut shown: Vec<String> = view.iter().map(|line| normal(line)).collect();
            shown.sort();
            if swapped && BY_DEVICE.contains(&name) {
                for line in &mut shown {
                    *line = line.replace("two", "2").replace("one", "two").replace('2', "one");
                }
            }
            assert_eq!(shown, row.shown, "{name}, swapped: {swapped}");
            device.audit();
        }
        assert_eq!(a.view(), b.view(), "the names of copies are the same everywhere");
        assert_eq!(c.view(), d.view());
        assert_eq!(a.view(), c.view());
    }
}

fn sections() -> [(&'static str, &'static [Row]); 4] {
    [
        ("The same file or link", files::ROWS),
        ("A file and the directory it is in", parents::ROWS),
        ("A name that both want", names::ROWS),
        ("Directories", directories::ROWS),
    ]
}

const BEGIN: &str = "<!-- rows: written by the test binary `conflicts` -->\n";
const END: &str = "<!-- end of rows -->\n";

/// Writes the table as Markdown.
fn markdown() -> String {
    let code = |text: &str| format!("`{text}`");
    let mut text = String::new();
    for (title, rows) in sections() {
        text.push_str(&format!("\n### {title}\n\n"));
        text.push_str("| test | before | one does | the other does | all then see | why |\n");
        text.push_str("| --- | --- | --- | --- | --- | --- |\n");
        for row in rows {
            let shown: Vec<String> = row.shown.iter().map(|line| code(line)).collect();
            let shown = if shown.is_empty() { "nothing".to_owned() } else { shown.join("<br>") };
            let before = if row.before.is_empty() { "-".to_owned() } else { code(row.before) };
            text.push_str(&format!(
                "| {} | {before} | {} | {} | {shown} | {} |\n",
                row.name,
                code(row.one),
                code(row.other),
                row.why,
            ));
        }
    }
    text.push('\n');
    text
}

#[test]
fn the_document_is_what_is_tested() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/conflicts.md");
    let document = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = document.split_once(BEGIN).expect("the document has a place for the rows");
    let (written, after) = rest.split_once(END).expect("the rows end somewhere");
    if std::env::var_os("DUNLIN_WRITE_DOCS").is_some() {
        let document = [before, BEGIN, &markdown(), END, after].concat();
        std::fs::write(&path, document).unwrap();
    } else {
        assert_eq!(written, markdown(), "run again with DUNLIN_WRITE_DOCS=1");
    }
}
