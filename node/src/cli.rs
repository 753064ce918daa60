//! The command line: one definition of each flag, from which help, manual and completions come.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;
use dunlin_api::ApiAddress;

use crate::rate::{self, Rate};

/// Keeps folders the same on all of your devices, with no server in between.
#[derive(Debug, Parser)]
#[command(name = "dunlin", version, propagate_version = true, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(flatten, next_help_heading = "Everywhere")]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  laptop$ dunlin up ~/Sync                    share a directory; prints a join code
  nas$    dunlin join dunlin1... /srv/sync --up  keep the same directory here
  laptop$ dunlin status --wait                return when both are the same

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a wait ran out, 4 no node is running.";

/// The flags of every command.
#[derive(Args, Clone, Debug)]
pub(crate) struct Global {
    /// Where the key, the settings and the database are [default: the platform's own place]
    #[arg(long, global = true, env = "DUNLIN_HOME", value_name = "DIR",
          value_hint = ValueHint::DirPath)]
    pub(crate) home: Option<PathBuf>,
    /// Print JSON: one document, or one a line for streams
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Tell more on stderr; twice or three times for still more
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Tell nothing on stderr but errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the node in the foreground
    Up(Up),
    /// Print a join code, with which another device joins a folder
    Share(Share),
    /// Join a folder of another device
    Join(Join),
    /// Keep two local directories the same, without a network
    Sync(Sync),
    /// Show what the node is doing
    Status(Status),
    /// Look at the disk now
    Scan(Scan),
    /// Fetch a file, or what is in a directory, before all else
    Fetch(Fetch),
    /// Manage folders; no file is ever deleted
    #[command(subcommand)]
    Folder(Folder),
    /// Manage the devices of your folders
    #[command(subcommand)]
    Device(Device),
    /// Show or change how fast blocks may go; transfers under way follow at once
    Limit(Limit),
    /// Look at what was changed on two devices at once, and say what stays
    #[command(subcommand)]
    Conflict(Conflict),
    /// Show what a file held before, or what was changed and deleted in a directory
    History(History),
    /// Bring back an older version, or what was deleted
    Restore(Restore),
    /// Print what happens, a JSON line each
    Events,
    /// Check that all is well, and say what to mend
    Doctor,
    /// Print the completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page
    Man {
        /// Write the pages of all commands into this directory instead
        #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
        dir: Option<PathBuf>,
    },
}

/// How a node runs.
#[derive(Args, Clone, Debug, Default, PartialEq)]
pub(crate) struct NodeFlags {
    /// Listen here, such as /ip4/0.0.0.0/udp/4001/quic-v1 [default: every address, any free port]
    #[arg(long, value_name = "MULTIADDR", value_parser = multiaddr)]
    pub(crate) listen: Vec<String>,
    /// Connect to this address, too
    #[arg(long, value_name = "MULTIADDR", value_parser = multiaddr)]
    pub(crate) peer: Vec<String>,
    /// This device's name [default: the one it has, or the host's]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Do not look for devices on the local network
    #[arg(long)]
    pub(crate) no_mdns: bool,
    /// Do not look for devices on the internet
    #[arg(long)]
    pub(crate) no_dht: bool,
    /// Serve the API on TCP, at PORT or IP:PORT; its token is in the home [default: off]
    #[arg(long, value_name = "ADDR|off", value_parser = api)]
    pub(crate) api: Option<Api>,
}

/// Where the API is served besides the home's socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Api {
    Off,
    At(ApiAddress),
}

#[derive(Args, Debug)]
pub(crate) struct Up {
    /// Directories to share; one that is no folder yet becomes one
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) dirs: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) node: NodeFlags,
}

#[derive(Args, Debug)]
pub(crate) struct Share {
    /// The folder's name, its path, or a path inside it
    pub(crate) folder: String,
    /// What the code lets its holder do [default: the same as this device]
    #[arg(long)]
    pub(crate) tier: Option<TierName>,
    /// Print a QR code, too
    #[arg(long)]
    pub(crate) qr: bool,
}

/// What a join code lets its holder do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TierName {
    /// Read and change everything
    Write,
    /// Read everything
    Read,
    /// Keep and serve it, without being able to read it
    Store,
}

impl TierName {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Read => "read",
            Self::Store => "store",
        }
    }
}

#[derive(Args, Debug)]
pub(crate) struct Join {
    /// The join code, from `dunlin up` or `dunlin share` on another device
    pub(crate) code: String,
    /// The directory; made if it is missing. What is in it already stays
    #[arg(value_hint = ValueHint::DirPath)]
    pub(crate) dir: PathBuf,
    /// Run the node, too, as `dunlin up` does
    #[arg(long)]
    pub(crate) up: bool,
    #[command(flatten, next_help_heading = "With --up")]
    pub(crate) node: NodeFlags,
}

#[derive(Args, Debug)]
pub(crate) struct Sync {
    /// A directory
    #[arg(value_hint = ValueHint::DirPath)]
    pub(crate) a: PathBuf,
    /// The directory that is to be the same
    #[arg(value_hint = ValueHint::DirPath)]
    pub(crate) b: PathBuf,
    /// Only carry changes from A to B
    #[arg(long)]
    pub(crate) one_way: bool,
    /// End when they are the same
    #[arg(long)]
    pub(crate) once: bool,
    /// Look at both every so often, besides watching them
    #[arg(long, value_name = "SECONDS", value_parser = seconds_above_zero)]
    pub(crate) interval: Option<f64>,
}

#[derive(Args, Debug)]
pub(crate) struct Status {
    /// Wait until every folder is in sync with every connected device, at least one; for so long
    /// at most, if given
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, value_parser = seconds)]
    pub(crate) wait: Option<Option<f64>>,
}

#[derive(Args, Debug)]
pub(crate) struct Scan {
    /// The folder's name, its path, or a path inside it [default: all]
    pub(crate) folder: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct Fetch {
    /// A file or directory in a folder, here already or not; or a folder's name
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) path: String,
}

#[derive(Args, Debug)]
pub(crate) struct History {
    /// A file or directory in a folder, there or not; or a folder's name
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) path: String,
    /// Show so many versions at most
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) limit: usize,
}

#[derive(Args, Debug)]
#[command(after_help = RESTORE_EXAMPLES, disable_version_flag = true)]
pub(crate) struct Restore {
    /// A file or directory in a folder, there or not; or a folder's name
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) path: String,
    /// As it was then: 2h (ago), 3d, yesterday, "2026-11-01 12:00" [default: what was kept last]
    #[arg(long, value_name = "TIME", value_parser = crate::when::parse)]
    pub(crate) at: Option<u64>,
    /// This version, by its number in `dunlin history`
    #[arg(long, value_name = "ID", conflicts_with = "at")]
    pub(crate) version: Option<u64>,
    /// Write it here instead, in a folder or anywhere else
    #[arg(long, value_name = "FILE", value_hint = ValueHint::AnyPath)]
    pub(crate) to: Option<PathBuf>,
    /// Put it in place of what is newer, which is kept as a version
    #[arg(long)]
    pub(crate) force: bool,
}

const RESTORE_EXAMPLES: &str = "\
Examples:
  dunlin restore notes.md                     the last version of what was deleted
  dunlin restore notes.md --version 12 --to old.md
  dunlin restore ~/Sync --at yesterday --force  the whole folder as it was";

/// The folder that a command is about.
#[derive(Args, Debug)]
pub(crate) struct FolderArg {
    /// The folder's name, its path, or a path inside it
    pub(crate) folder: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Folder {
    /// List the folders
    Ls,
    /// Forget a folder; its files stay where they are
    Rm(FolderArg),
    /// Stop a folder until it is resumed
    Pause(FolderArg),
    /// Take a paused folder up again
    Resume(FolderArg),
    /// List the settings of a folder, and where each comes from
    Show(FolderArg),
    /// Change a setting: name, hold, label, ignore, text, text-check, versions, versions-size
    /// or versions-delay
    ///
    /// Patterns, the label, and what is kept of old versions are shared by the folder's members;
    /// the latter can be set for this device alone with --local. An empty value takes a setting back.
    Set(FolderSet),
    /// Read everything back, and repair what has rotted from other devices
    Verify(FolderArg),
    /// Let a held mass deletion or mass overwrite happen, on every device
    Approve(FolderArg),
    /// Take a held mass deletion or mass overwrite back: every file is as it was
    Undo(FolderArg),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Conflict {
    /// List the conflicts: every version, who wrote it and when
    Ls {
        /// The folder's name, its path, or a path inside it [default: all]
        folder: Option<String>,
    },
    /// Show one conflict, and what its versions came from
    Show {
        /// The path of one of its versions
        #[arg(value_hint = ValueHint::FilePath)]
        path: PathBuf,
        /// Write what all versions came from into this file, which must not be there yet
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        base: Option<PathBuf>,
    },
    /// End conflicts, on all devices; what does not stay is kept in the version store
    Resolve(Resolve),
}

#[derive(Args, Debug)]
#[command(group(clap::ArgGroup::new("how").required(true)))]
pub(crate) struct Resolve {
    /// For each conflict, the path of one of its versions
    #[arg(required = true, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub(crate) paths: Vec<PathBuf>,
    /// Which versions stay: `this` at PATH, `that`, which is the other one, both, or the newest
    #[arg(long, group = "how", value_name = "WHICH")]
    pub(crate) keep: Option<KeepName>,
    /// Merge with a tool: its name, or a command that uses $LOCAL, $BASE, $REMOTE and $MERGED
    /// [default: $DUNLIN_MERGETOOL, or `mergetool` in config.toml]
    #[arg(long, group = "how", value_name = "TOOL", num_args = 0..=1, require_equals = true)]
    pub(crate) with_tool: Option<Option<String>>,
}

/// Which versions stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeepName {
    /// The one at PATH
    This,
    /// The other one, of two
    That,
    /// All; copies become ordinary files, named after the devices that wrote them
    Both,
    /// The one that was changed last, by its own device's clock
    Newest,
}

#[derive(Args, Debug)]
pub(crate) struct FolderSet {
    #[command(flatten)]
    pub(crate) folder: FolderArg,
    /// The setting
    pub(crate) key: String,
    /// Its new value; of a list, one pattern a line
    pub(crate) value: String,
    /// For this device alone, before what the members share
    #[arg(long)]
    pub(crate) local: bool,
    /// Add the value to a list
    #[arg(long, conflicts_with = "local")]
    pub(crate) add: bool,
    /// Take the value out of a list
    #[arg(long, conflicts_with_all = ["local", "add"])]
    pub(crate) remove: bool,
}

/// The device that a command is about.
#[derive(Args, Debug)]
pub(crate) struct DeviceArg {
    /// The device's name, or an unambiguous beginning of its PeerId
    pub(crate) device: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Device {
    /// List the devices
    Ls,
    /// Give a device another name
    Rename {
        #[command(flatten)]
        device: DeviceArg,
        /// Its new name
        name: String,
    },
    /// End a device's membership, and that of join codes; the copies that it has stay with it
    Remove {
        #[command(flatten)]
        device: DeviceArg,
        /// In this folder alone: its name, its path, or a path inside it
        #[arg(long)]
        folder: Option<String>,
    },
}

#[derive(Args, Debug)]
pub(crate) struct Limit {
    /// Take all limits away, the schedule and metering too; with --device, those of that device
    #[arg(value_name = "off", conflicts_with_all = ["up", "down", "schedule", "metered"])]
    pub(crate) off: Option<Off>,
    /// What this device may send, such as 5MB/s or 20Mbit/s
    #[arg(long, value_name = "RATE|off", value_parser = rate::parse)]
    pub(crate) up: Option<Rate>,
    /// What this device may receive
    #[arg(long, value_name = "RATE|off", value_parser = rate::parse)]
    pub(crate) down: Option<Rate>,
    /// For this device alone, besides the limits for all together: its name, or an unambiguous
    /// beginning of its PeerId
    #[arg(long)]
    pub(crate) device: Option<String>,
    /// When the rates hold, such as "mon-fri 08:00-18:00, sat 10:00-12:00" [default: always]
    #[arg(long, value_name = "SPANS|off", conflicts_with = "device")]
    pub(crate) schedule: Option<String>,
    /// Whether bytes cost money: files above 64 KiB are not fetched then
    #[arg(long, conflicts_with = "device")]
    pub(crate) metered: Option<Switch>,
}

/// The word that takes limits away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Off {
    /// No limits
    Off,
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    On,
    Off,
}

impl Switch {
    pub(crate) fn is_on(self) -> bool {
        self == Self::On
    }
}

/// The engine reads the address; here only what cannot be one at all is told apart.
fn multiaddr(text: &str) -> Result<String, String> {
    match text.starts_with('/') && text.len() > 1 {
        true => Ok(text.to_owned()),
        false => Err("expected a multiaddress, such as /ip4/192.168.1.2/udp/4001/quic-v1".into()),
    }
}

fn api(text: &str) -> Result<Api, String> {
    match text {
        "off" => Ok(Api::Off),
        _ => text.parse().map(Api::At).map_err(|error| format!("{error}, or off")),
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds.is_finite() && seconds >= 0.0 => Ok(seconds),
        _ => Err("expected a number of seconds".into()),
    }
}

fn seconds_above_zero(text: &str) -> Result<f64, String> {
    match seconds(text)? {
        seconds if seconds > 0.0 => Ok(seconds),
        _ => Err("expected more than 0 seconds".into()),
    }
}

#[cfg(test)]
pub(crate) fn parse_limit(line: &str) -> Limit {
    let cli = Cli::try_parse_from(std::iter::once("dunlin").chain(line.split_whitespace()));
    match cli.expect("it parses").command {
        Command::Limit(limit) => limit,
        other => panic!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("dunlin").chain(line.split_whitespace()))
    }

    #[test]
    fn the_definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn up_takes_what_the_contract_promises() {
        let line = "up /a /b --listen /ip4/127.0.0.1/udp/0/quic-v1 --listen /ip6/::/tcp/1 \
                    --peer /dns/x/tcp/1 --name n --no-mdns --no-dht --api 127.0.0.1:0 --json";
        let cli = parse(line).unwrap();
        assert!(cli.global.json);
        let Command::Up(up) = cli.command else { panic!("{:?}", cli.command) };
        assert_eq!(up.dirs, [PathBuf::from("/a"), PathBuf::from("/b")]);
        assert_eq!(up.node.listen.len(), 2);
        assert_eq!(up.node.peer, ["/dns/x/tcp/1"]);
        assert!(up.node.no_mdns && up.node.no_dht);
        assert_eq!(up.node.api, Some(Api::At("127.0.0.1:0".parse().unwrap())));
        let Command::Up(up) = parse("up --api off").unwrap().command else { panic!() };
        assert_eq!(up.node.api, Some(Api::Off));
        assert_eq!(parse("up --listen 1.2.3.4:5").unwrap_err().exit_code(), 2);
        assert_eq!(parse("up --api nowhere").unwrap_err().exit_code(), 2);
    }

    #[test]
    fn wait_takes_no_or_some_seconds() {
        let wait = |line| match parse(line).unwrap().command {
            Command::Status(status) => status.wait,
            other => panic!("{other:?}"),
        };
        assert_eq!(wait("status"), None);
        assert_eq!(wait("status --wait"), Some(None));
        assert_eq!(wait("status --wait --json"), Some(None));
        assert_eq!(wait("status --wait 60"), Some(Some(60.0)));
        assert_eq!(wait("status --wait 0.5"), Some(Some(0.5)));
        for line in ["status --wait x", "status --wait nan", "status --wait inf"] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn global_flags_stand_before_and_after_the_command() {
        for line in ["--home /h --json status -vv", "status --json -v -v --home /h"] {
            let global = parse(line).unwrap().global;
            assert_eq!(global.home.as_deref(), Some(std::path::Path::new("/h")));
            assert!(global.json);
            assert_eq!(global.verbose, 2);
        }
        assert_eq!(parse("status -q -v").unwrap_err().exit_code(), 2);
    }

    #[test]
    fn the_other_commands_parse() {
        for line in [
            "share Sync",
            "share /srv/sync/x --tier read --qr",
            "join dunlin1x /srv --up --no-mdns --peer /ip4/1.2.3.4/udp/1/quic-v1",
            "sync a b --one-way --once --interval 2.5",
            "scan",
            "scan Sync",
            "fetch a/b",
            "folder ls",
            "folder rm Sync",
            "folder pause Sync",
            "folder resume Sync",
            "folder show Sync",
            "folder set Sync versions none --local",
            "folder set Sync ignore *.tmp --add",
            "folder set Sync ignore !*.tmp --remove",
            "folder verify Sync",
            "history a/b --limit 5",
            "restore a/b",
            "restore a/b --at 2h --force",
            "restore a/b --version 7 --to /tmp/x",
            "folder approve Sync",
            "folder undo Sync",
            "conflict ls",
            "conflict ls Sync",
            "conflict show a.txt",
            "conflict show a.txt --base old.txt",
            "conflict resolve a.txt b.txt --keep this",
            "conflict resolve a.txt --keep newest",
            "conflict resolve a.txt --with-tool",
            "conflict resolve --with-tool=meld a.txt",
            "device ls",
            "device rename nas attic",
            "device remove nas",
            "limit",
            "limit off",
            "limit off --device nas",
            "limit --up 5MB/s --down off --device nas",
            "limit --schedule off --metered on",
            "events",
            "doctor",
            "completions bash",
            "man",
            "man --dir /tmp/man",
        ] {
            parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }

    #[test]
    fn wrong_usage_exits_with_two() {
        for line in [
            "",
            "fly",
            "share",
            "share Sync --tier admin",
            "join dunlin1x",
            "sync a",
            "sync a b --interval 0",
            "sync a b --interval -1",
            "folder",
            "folder set Sync versions",
            "folder set Sync ignore *.tmp --add --remove",
            "folder set Sync ignore *.tmp --add --local",
            "restore",
            "restore a --at tomorrow",
            "restore a --at 2h --version 7",
            "device rename nas",
            "conflict resolve a.txt",
            "conflict resolve --keep this",
            "conflict resolve a.txt --keep neither",
            "conflict resolve a.txt --keep this --with-tool",
            "completions cobol",
            "limit 5MB/s",
            "limit --up fast",
            "limit off --up 5MB/s",
            "limit --device nas --metered on",
            "status --no-such-flag",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
        for line in ["--help", "--version", "up --help"] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 0, "{line}");
        }
    }
}
