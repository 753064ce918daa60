//! Measures meshes of 10 to 10,000 devices and writes `docs/scale.md` and `docs/scale.svg`.

use std::path::PathBuf;

use clap::Parser;
use simulations::scale::report::report;

/// Writes a table and a chart of how changes spread in large meshes.
#[derive(Parser)]
struct Arguments {
    /// The directory to write to.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs"))]
    docs: PathBuf,
    /// Fails when a bar is missed.
    #[arg(long)]
    check: bool,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    let report = report()?;
    std::fs::write(arguments.docs.join("scale.md"), &report.document)?;
    std::fs::write(arguments.docs.join("scale.svg"), &report.chart)?;
    print!("{}", report.document);
    if arguments.check && !report.missed.is_empty() {
        return Err(report.missed.join("; ").into());
    }
    Ok(())
}
