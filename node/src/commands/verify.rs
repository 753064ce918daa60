//! `dunlin folder verify`.

use dunlin_api::Client;
use dunlin_engine::types::VerifyReport;

use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::{bytes, count};

/// Has a folder read back, and tells what was found.
pub(crate) async fn run(context: &Context, client: &Client, name: &str) -> Result<Exit, Failure> {
    let report =
        client.verify(name).await.map_err(|error| Failure::from(error).during("cannot verify"))?;
    if context.output.json {
        context.output.document(&report)?;
    } else {
        tell(context, &report);
    }
    outcome(&report)
}

fn tell(context: &Context, report: &VerifyReport) {
    let output = &context.output;
    let files = count(report.files, "file");
    output.note(&format!(
        "{}: {files}, {} and {} of old versions read back",
        report.folder,
        bytes(report.bytes),
        count(report.objects, "block"),
    ));
    if report.changing > 0 {
        output.note(&format!("{} left out, being changed just now", report.changing));
    }
    for file in &report.rotten {
        let what = match &file.reason {
            None => "had rotted; a good copy is in its place",
            Some(reason) => reason,
        };
        output.note(&format!("  {}: {what}", file.path));
    }
    if report.objects_damaged > 0 {
        output.note(&format!(
            "{} of old versions damaged, {} repaired",
            count(report.objects_damaged, "block"),
            report.objects_repaired
        ));
    }
}

/// What is damaged and stays so is a failure.
fn outcome(report: &VerifyReport) -> Result<Exit, Failure> {
    let left = report.rotten_count - report.repaired_count;
    if left == 0 {
        return Ok(Exit::Done);
    }
    Err(Failure::new(format!("{} rotten and not repaired", count(left, "file")))
        .advise("connect a device that has a good copy, and verify again"))
}
