//! Running nodes: the binary under test, its home, its folder and its output.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::mount::Mount;
use super::network::{Network, Place};
use super::snapshot::{Snapshot, assert_same_tree};
use super::status::{Folder, Ready, State, Status};
use super::wait::{PATIENCE, poll_for, wait_until};

/// How many of the last lines of a node's output a failing test prints.
const SHOWN_LINES: usize = 60;

/// The program under test. `DUNLIN_BIN` names another one, such as a release build.
pub(crate) fn binary() -> String {
    std::env::var("DUNLIN_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_dunlin").into())
}

/// How a command ended and what it said.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The exit code; `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    /// Fails the test unless the command ended with `code`; gives the outcome back.
    #[track_caller]
    pub(crate) fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    /// Fails the test unless the command failed with `code` and told a person why.
    ///
    /// What it told: at least one sentence on stderr, no panic, nothing of Rust's own formats.
    #[track_caller]
    pub(crate) fn expect_explained(self, code: i32) -> Self {
        let outcome = self.expect_code(code);
        let said = outcome.stderr.trim();
        assert!(said.split_whitespace().count() >= 4, "no explanation on stderr: {said:?}");
        for sign_of_neglect in ["panicked at", "RUST_BACKTRACE", "Os {", "Err(", "unwrap()"] {
            assert!(!said.contains(sign_of_neglect), "not written for a person: {said}");
        }
        outcome
    }
}

/// Runs `command` to its end, at most `limit` long.
#[track_caller]
pub(crate) fn run(mut command: Command, limit: Duration) -> Outcome {
    let mut stdout = tempfile::tempfile().expect("a temporary file");
    let mut stderr = tempfile::tempfile().expect("a temporary file");
    let shown = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(stdout.try_clone().expect("a second handle"))
        .stderr(stderr.try_clone().expect("a second handle"))
        .spawn()
        .unwrap_or_else(|error| panic!("cannot run {shown}: {error}"));
    let status = ended_within(&mut child, limit);
    if status.is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
    let outcome = Outcome {
        code: status.and_then(|status| status.code()),
        stdout: whole(&mut stdout),
        stderr: whole(&mut stderr),
    };
    assert!(status.is_some(), "{shown} did not end within {limit:?}: {outcome:?}");
    outcome
}

fn whole(file: &mut File) -> String {
    let mut bytes = Vec::new();
    file.rewind().and_then(|()| file.read_to_end(&mut bytes)).expect("a readable temporary file");
    String::from_utf8_lossy(&bytes).into_owned()
}

fn ended_within(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    poll_for(limit, || child.try_wait().expect("a child of this process"))
}

/// One device: a home, a folder's directory, and the node's process while it runs.
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) home: PathBuf,
    pub(crate) dir: PathBuf,
    place: Place,
    peers: Vec<String>,
    child: Option<Child>,
    starts: u32,
    joined: bool,
    /// What the last start said when it was ready.
    ready: Option<Ready>,
}

impl Node {
    /// A node that is not running yet; `dir` is not made.
    pub(crate) fn new(base: &Path, name: &str, place: Place, peers: Vec<String>) -> Self {
        let home = base.join(format!("home-{name}"));
        fs::create_dir_all(&home).expect("a home");
        let dir = base.join(name);
        let name = name.to_owned();
        let (child, ready) = (None, None);
        Self { name, home, dir, place, peers, child, starts: 0, joined: false, ready }
    }

    /// A command of the program under test, for this home, where this node runs.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.place.command(&binary());
        command.arg("--home").arg(self.home.join("dunlin")).args(arguments);
        command.env("HOME", &self.home).env("NO_COLOR", "1").env_remove("DUNLIN_HOME");
        command.current_dir(&self.home);
        command
    }

    /// Runs a command for this home to its end.
    #[track_caller]
    pub(crate) fn cli(&self, arguments: &[&str]) -> Outcome {
        run(self.command(arguments), PATIENCE)
    }

    /// The flags with which every node runs: nothing but the peers that it is told of.
    pub(crate) fn flags(&self) -> Vec<String> {
        let mut flags: Vec<String> =
            ["--json", "--no-mdns", "--no-dht", "--name"].map(String::from).to_vec();
        flags.extend([self.name.clone(), "--listen".into(), self.place.multiaddr()]);
        for peer in &self.peers {
            flags.extend(["--peer".into(), peer.clone()]);
        }
        flags
    }

    /// Starts the node: with a fresh folder, joining by `code`, or with what its home knows.
    #[track_caller]
    pub(crate) fn spawn(&mut self, code: Option<&str>) {
        assert!(self.child.is_none(), "{} runs already", self.name);
        let dir = self.dir.to_string_lossy().into_owned();
        let mut arguments: Vec<String> = match code {
            _ if self.joined => vec!["up".into()],
            Some(code) => vec!["join".into(), code.into(), dir, "--up".into()],
            None => vec!["up".into(), dir],
        };
        arguments.extend(self.flags());
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        self.starts += 1;
        let mut command = self.command(&arguments);
        command.env("RUST_BACKTRACE", "1");
        command.stdin(Stdio::null()).stdout(self.log("out")).stderr(self.log("err"));
        self.child = Some(command.spawn().expect("the program under test starts"));
        self.ready = None;
    }

    fn log_path(&self, stream: &str) -> PathBuf {
        self.home.join(format!("log-{}.{stream}", self.starts))
    }

    fn log(&self, stream: &str) -> File {
        File::create(self.log_path(stream)).expect("a log file")
    }

    /// Waits for the line that says that the node is ready, and gives it.
    #[track_caller]
    pub(crate) fn wait_ready(&mut self) -> Ready {
        let path = self.log_path("out");
        let child = self.child.as_mut().expect("a running node");
        let mut ended = None;
        let ready = poll_for(PATIENCE, || {
            // Seen first, so that what it wrote just before it ended is still read below.
            ended = child.try_wait().expect("a child of this process");
            match find_ready(&fs::read_to_string(&path).unwrap_or_default()) {
                Some(ready) => Some(Some(ready)),
                None => ended.map(|_| None),
            }
        });
        let Some(Some(ready)) = ready else {
            panic!("{} did not get ready (ended: {ended:?})", self.name);
        };
        self.joined = true;
        self.ready = Some(ready.clone());
        ready
    }

    /// The join code that the node printed when it started.
    #[track_caller]
    pub(crate) fn join_code(&self) -> String {
        let ready = self.ready.as_ref().expect("a node that is ready");
        ready.folders.first().expect("a folder").join.clone()
    }

    /// Starts the node again on what its home knows, and waits until it is ready.
    #[track_caller]
    pub(crate) fn restart(&mut self) {
        self.spawn(None);
        self.wait_ready();
    }

    /// Whether the process is there.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// How the process ended, if it has ended by itself.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        let mut child = self.child.take()?;
        match child.try_wait() {
            Ok(Some(status)) => status.code(),
            _ => {
                self.child = Some(child);
                None
            }
        }
    }

    /// Says that the home knows the folder already, by another way than [`Node::spawn`].
    pub(crate) fn assume_joined(&mut self) {
        self.joined = true;
    }

    /// The process's id.
    #[track_caller]
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("a running node").id()
    }

    /// Ends the node with SIGTERM, and fails the test unless it stops cleanly.
    #[track_caller]
    pub(crate) fn stop(&mut self) {
        let mut child = self.child.take().expect("a running node");
        kill_process(Pid::from_child(&child), Signal::TERM).expect("a child can be signalled");
        let status = ended_within(&mut child, PATIENCE);
        if status.is_none_or(|status| status.code() != Some(0)) {
            let _ = child.kill();
            let _ = child.wait();
            panic!("{} did not stop cleanly: {status:?}", self.name);
        }
    }

    /// Ends the node with SIGKILL: no chance to tidy up.
    #[track_caller]
    pub(crate) fn kill9(&mut self) {
        let mut child = self.child.take().expect("a running node");
        child.kill().expect("a child can be killed");
        child.wait().expect("a child of this process");
    }

    /// Ends the node with SIGKILL and starts it again before the system has cleared it away.
    #[track_caller]
    pub(crate) fn kill9_and_restart(&mut self) {
        let mut killed = self.child.take().expect("a running node");
        killed.kill().expect("a child can be killed");
        self.restart();
        killed.wait().expect("a child of this process");
    }

    /// What `status --json` says.
    #[track_caller]
    pub(crate) fn status(&self) -> Status {
        let outcome = self.cli(&["status", "--json"]).expect_code(0);
        serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| {
            panic!("status of {} is not as promised: {error}: {}", self.name, outcome.stdout)
        })
    }

    /// What `status --json` says of the first folder.
    #[track_caller]
    pub(crate) fn folder(&self) -> Folder {
        let status = self.status();
        status.folders.into_iter().next().unwrap_or_else(|| panic!("{} has no folder", self.name))
    }

    /// Waits until the folder is in `state`, and gives its status.
    #[track_caller]
    pub(crate) fn wait_state(&self, state: State) -> Folder {
        let mut last = None;
        let found = poll_for(PATIENCE, || {
            let folder = self.folder();
            let there = folder.state == state;
            last = Some(folder.clone());
            there.then_some(folder)
        });
        found.unwrap_or_else(|| panic!("{} never got {state:?}, but {last:#?}", self.name))
    }

    /// Waits until the folder is held, and returns why, as its user is told.
    #[track_caller]
    pub(crate) fn assert_held(&self) -> String {
        let why = self.wait_state(State::Held).error.expect("a held folder says why");
        assert!(why.contains("approve") && why.contains("undo"), "not what to do: {why}");
        self.cli(&["status", "--wait", "20"]).expect_explained(1);
        why
    }

    /// Waits, as a script would, until the node says that all is in sync.
    #[track_caller]
    pub(crate) fn wait_in_sync(&self) {
        self.cli(&["status", "--wait", "60"]).expect_code(0);
    }

    /// A path in the folder.
    pub(crate) fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        self.dir.join(path)
    }

    /// The directory inside the folder that is Dunlin's own.
    pub(crate) fn private(&self) -> PathBuf {
        self.dir.join(".dunlin")
    }

    fn print_logs(&self) {
        for start in 1..=self.starts {
            for stream in ["out", "err"] {
                let path = self.home.join(format!("log-{start}.{stream}"));
                let Ok(text) = fs::read_to_string(&path) else { continue };
                let lines: Vec<&str> = text.lines().collect();
                let from = lines.len().saturating_sub(SHOWN_LINES);
                eprintln!("--- {}, start {start}, std{stream}", self.name);
                eprintln!("{}", lines[from..].join("\n"));
            }
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            if self.is_running() {
                let outcome = run(self.command(&["status", "--json"]), Duration::from_secs(5));
                eprintln!("--- {}, status\n{}{}", self.name, outcome.stdout, outcome.stderr);
            }
            self.print_logs();
        }
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn find_ready(text: &str) -> Option<Ready> {
    // Only whole lines: the last one may still be on its way.
    text.split_inclusive('\n')
        .filter(|line| line.ends_with('\n') && line.contains("\"ready\""))
        .find_map(|line| serde_json::from_str(line).ok())
        .filter(|ready: &Ready| ready.event == "ready")
}

/// Some nodes on one network, for one folder. The first makes it, the others join.
pub(crate) struct Group {
    // In the order in which they must go: processes, their network, mounts, files.
    pub(crate) nodes: Vec<Node>,
    pub(crate) network: Network,
    pub(crate) mounts: Vec<Mount>,
    pub(crate) base: TempDir,
}

impl Group {
    /// Nodes `a`, `b`, … with empty directories, none of them running.
    pub(crate) fn new(nodes: u8) -> Self {
        Self::on(Network::new(nodes), nodes)
    }

    /// The same on a network that is there already.
    pub(crate) fn on(network: Network, nodes: u8) -> Self {
        let base = tempfile::Builder::new().prefix("dunlin-e2e-").tempdir();
        let base = base.expect("a temporary directory");
        let addresses: Vec<String> =
            (0..nodes).map(|i| network.place(i.into()).multiaddr()).collect();
        let nodes = (0..nodes).map(usize::from).map(|i| {
            let name = char::from(b'a' + u8::try_from(i).expect("few nodes")).to_string();
            let mut peers = addresses.clone();
            peers.remove(i);
            let node = Node::new(base.path(), &name, network.place(i), peers);
            fs::create_dir_all(&node.dir).expect("a folder's directory");
            node
        });
        let nodes = nodes.collect();
        Self { nodes, network, mounts: Vec::new(), base }
    }

    /// Two nodes that run and know each other.
    #[track_caller]
    pub(crate) fn pair() -> Self {
        let mut group = Self::new(2);
        group.start(&[0, 1]);
        group
    }

    /// Starts these nodes, the first of the folder first, and waits until they are ready.
    #[track_caller]
    pub(crate) fn start(&mut self, which: &[usize]) {
        for &i in which {
            let code = (i > 0 && !self.nodes[i].joined).then(|| self.code());
            self.nodes[i].spawn(code.as_deref());
            if code.is_some() || i == 0 {
                self.nodes[i].wait_ready();
            }
        }
        for &i in which {
            if self.nodes[i].ready.is_none() {
                self.nodes[i].wait_ready();
            }
        }
    }

    /// The folder's join code, from whichever node has it.
    #[track_caller]
    pub(crate) fn code(&self) -> String {
        let node = self.nodes.iter().find(|node| node.joined).expect("a node with the folder");
        let outcome = node.cli(&["share", &node.dir.to_string_lossy()]).expect_code(0);
        outcome.stdout.trim().to_owned()
    }

    /// Stops these nodes cleanly.
    #[track_caller]
    pub(crate) fn stop(&mut self, which: &[usize]) {
        for &i in which {
            self.nodes[i].stop();
        }
    }

    /// Waits until these running nodes say that they are in sync and their trees are the same.
    ///
    /// The word of the nodes alone is not enough: a change that was made a moment
    /// ago may not have been seen. The trees alone are not either: more may come.
    #[track_caller]
    pub(crate) fn converge(&self, which: &[usize]) {
        let end = Instant::now() + PATIENCE;
        loop {
            for &i in which {
                self.nodes[i].wait_in_sync();
            }
            let same = {
                let mut trees = which.iter().map(|&i| Snapshot::try_of(&self.nodes[i].dir));
                let first = trees.next().and_then(Result::ok);
                first.is_some_and(|first| {
                    trees.all(|tree| tree.is_ok_and(|tree| first.difference(&tree).is_none()))
                })
            };
            if same {
                return;
            }
            if Instant::now() > end {
                for pair in which.windows(2) {
                    assert_same_tree(&self.nodes[pair[0]].dir, &self.nodes[pair[1]].dir);
                }
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until node `i` is connected with `count` devices of the folder.
    #[track_caller]
    pub(crate) fn wait_connected(&self, i: usize, count: usize) {
        wait_until(&format!("{} is connected with {count}", self.nodes[i].name), || {
            let devices = self.nodes[i].folder().devices;
            devices.iter().filter(|device| device.connected).count() >= count
        });
    }

    /// Has the user of node `i` approve or undo what is held there.
    #[track_caller]
    pub(crate) fn say(&self, i: usize, word: &str) {
        let folder = self.nodes[i].dir.to_string_lossy().into_owned();
        self.nodes[i].cli(&["folder", word, &folder]).expect_code(0);
        wait_until("nobody holds it any more", || {
            self.nodes.iter().all(|node| node.folder().state != State::Held)
        });
    }

    /// Fails the test if one of these nodes shows a conflict.
    #[track_caller]
    pub(crate) fn assert_no_conflicts(&self, which: &[usize]) {
        for &i in which {
            let conflicts = self.nodes[i].folder().conflicts;
            assert_eq!(conflicts, 0, "{} shows conflicts", self.nodes[i].name);
        }
    }
}
