//! How a command ends: exit codes, and errors that say what, why and what to do.

use std::fmt;
use std::io;
use std::process::ExitCode;

use dunlin_api::{ClientError, Fault, ServeError};
use serde_json::json;

/// The exit codes that scripts may rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    TimedOut = 3,
    NotRunning = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) exit: Exit,
    /// What failed and why, in one line; nothing to be said when empty.
    message: String,
    /// What to do about it.
    advice: Vec<String>,
}

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { exit: Exit::Failed, message: message.into(), advice: Vec::new() }
    }

    /// A failure that is the command line's own fault.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, ..Self::new(message) }
    }

    /// A wait that ran out.
    pub(crate) fn timed_out(message: impl Into<String>) -> Self {
        Self { exit: Exit::TimedOut, ..Self::new(message) }
    }

    /// The same with one more word on what to do.
    #[must_use]
    pub(crate) fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice.push(advice.into());
        self
    }

    /// The same, said to have happened during `what`.
    #[must_use]
    pub(crate) fn during(mut self, what: impl fmt::Display) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// The lines for a person.
    fn text(&self) -> String {
        let mut text = format!("dunlin: {}\n", self.message);
        for advice in &self.advice {
            text.push_str(&format!("  try: {advice}\n"));
        }
        text
    }

    /// The line for a program.
    fn json(&self) -> String {
        let error = json!({
            "message": self.message,
            "advice": self.advice,
            "exit": self.exit as u8,
        });
        format!("{}\n", json!({ "error": error }))
    }

    /// Says on stderr why the command failed, and gives its exit code.
    pub(crate) fn report(&self, as_json: bool) -> ExitCode {
        if !self.message.is_empty() {
            let text =
                if as_json { self.json() } else { crate::output::printable_lines(&self.text()) };
            // Nobody is left to be told when stderr itself is gone.
            let _ = io::Write::write_all(&mut io::stderr(), text.as_bytes());
        }
        self.exit.into()
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::NotRunning(_) => {
                Self { exit: Exit::NotRunning, ..Self::new(error.to_string()) }.advise("dunlin up")
            }
            ClientError::Fault(fault) => fault.into(),
            ClientError::Connection { .. } => {
                Self::new(error.to_string()).advise("dunlin doctor, or start the node anew")
            }
            _ => Self::new(error.to_string())
                .advise("compare dunlin --version with the running node's, and start it anew"),
        }
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self { advice: fault.advice.into_iter().collect(), ..Self::new(fault.message) }
    }
}

impl From<ServeError> for Failure {
    fn from(error: ServeError) -> Self {
        let failure = Self::new(error.to_string());
        match error {
            ServeError::AlreadyRunning(_) => failure.advise("dunlin status"),
            ServeError::Address { .. } => failure.advise("another --api address, or --api off"),
            _ => failure,
        }
    }
}

impl From<io::Error> for Failure {
    /// For errors of this program's own output; others are given their context first.
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            // The reader has all it wanted, as with `dunlin events | head -1`.
            return Self { exit: Exit::Done, message: String::new(), advice: Vec::new() };
        }
        Self::new(format!("cannot write the result: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dunlin_api::FaultKind;

    #[test]
    fn each_end_has_its_code() {
        let codes = [Exit::Done, Exit::Failed, Exit::Usage, Exit::TimedOut, Exit::NotRunning];
        assert_eq!(codes.map(|exit| exit as u8), [0, 1, 2, 3, 4]);
        assert_eq!(Failure::from(ClientError::NotRunning("/h".into())).exit, Exit::NotRunning);
        assert_eq!(Failure::from(ClientError::Silent).exit, Exit::Failed);
        assert_eq!(Failure::from(io::Error::from(io::ErrorKind::BrokenPipe)).exit, Exit::Done);
        assert_eq!(Failure::from(io::Error::from(io::ErrorKind::StorageFull)).exit, Exit::Failed);
    }

    #[test]
    fn a_failure_says_what_why_and_what_to_do() {
        let fault = Fault::new(FaultKind::NotFound, "no folder \"x\"").advise("use one of: Sync");
        let failure = Failure::from(fault).during("cannot pause");
        assert_eq!(
            failure.text(),
            "dunlin: cannot pause: no folder \"x\"\n  try: use one of: Sync\n"
        );
        let json: serde_json::Value = serde_json::from_str(&failure.json()).unwrap();
        assert_eq!(json["error"]["message"], "cannot pause: no folder \"x\"");
        assert_eq!(json["error"]["advice"][0], "use one of: Sync");
        assert_eq!(json["error"]["exit"], 1);
    }
}
