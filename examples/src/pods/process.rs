//! A program that runs in a pod.
//!
//! Between fork and exec the child enters the pod's network, gets the pod's resolv.conf in a mount namespace of its own
//! and drops its privileges. It never outlives this process (PR_SET_PDEATHSIG), nor its [`Process`] value.

use super::error::Error;
use super::ip::system_path;
use super::place::Place;
use super::program::Program;
use super::{poll, sweep};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Gid, Pid, Uid, setgid, setgroups, setuid};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::time::{Duration, Instant};

/// The last capability the kernel knows lies below this; dropping one it does not know is harmless.
const CAPABILITIES: libc::c_ulong = 64;

/// How long [`run`] lets a program run.
const RUN_LIMIT: Duration = Duration::from_secs(30);

static OUTPUTS: AtomicU32 = AtomicU32::new(0);

/// Where output goes.
enum Sink {
    /// Both streams into the pod's log of this program.
    Log,
    /// Each stream into a file of its own.
    Output,
}

/// A running program; ended with SIGKILL when dropped.
#[derive(Debug)]
pub struct Process {
    // The pod stays as long as somebody lives in it.
    _place: Arc<Place>,
    name: String,
    pid: Pid,
    child: Mutex<Child>,
    out: PathBuf,
    err: Option<PathBuf>,
    /// Where this run's lines start: a log continues when a program is started again.
    offset: u64,
}

impl Process {
    /// Starts `program`; its output goes to the pod's log of it.
    pub(super) fn start(place: &Arc<Place>, program: Program) -> Result<Self, Error> {
        Self::start_into(place, program, Sink::Log)
    }

    fn start_into(place: &Arc<Place>, program: Program, sink: Sink) -> Result<Self, Error> {
        sweep::refuse_when_closing()?;
        let name = format!("{}/{}", place.name(), program.name());
        let failed = |step: &str| Error::io(format!("{name}: {step}"));
        let (out, err) = files(place, &program, sink);
        let open =
            |path: &PathBuf| OpenOptions::new().create(true).append(true).open(path).map_err(failed("open its log"));
        let stdout = open(&out)?;
        let offset = stdout.metadata().map_err(failed("read its log"))?.len();
        let stderr = match &err {
            Some(path) => open(path)?,
            None => stdout.try_clone().map_err(failed("open its log"))?,
        };
        let mut command = command(place, &program)?;
        command.stdout(stdout).stderr(stderr).stdin(stdin(&program).map_err(failed("give it its input"))?);
        let child = spawn(command).map_err(failed("start it"))?;
        let pid = Pid::from_raw(child.id() as i32);
        Ok(Self { _place: Arc::clone(place), name, pid, child: Mutex::new(child), out, err, offset })
    }

    /// `pod/program`.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn pid(&self) -> u32 {
        self.pid.as_raw() as u32
    }

    /// Sends `signal`; to a process that is gone this does nothing.
    pub fn signal(&self, signal: Signal) {
        // A child that was not waited for keeps its pid, so the signal cannot reach a stranger.
        if self.status().is_none() {
            let _ = kill(self.pid, signal);
        }
    }

    /// SIGKILL, to it and its children.
    pub fn kill(&self) {
        if self.status().is_none() {
            let _ = killpg(self.pid, Signal::SIGKILL);
        }
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// SIGSTOP: the process hangs, its connections stay open.
    pub fn stop(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// SIGCONT.
    pub fn cont(&self) {
        self.signal(Signal::SIGCONT);
    }

    pub fn is_running(&self) -> bool {
        self.status().is_none()
    }

    /// How it ended, if it has.
    pub fn status(&self) -> Option<ExitStatus> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner).try_wait().ok().flatten()
    }

    /// Waits for the end; `None` when it does not come within `limit`.
    pub fn wait_exit(&self, limit: Duration) -> Option<ExitStatus> {
        poll::poll_until(Instant::now() + limit, &self.name, || self.status()).ok()
    }

    /// What this run has written so far.
    pub fn log(&self) -> String {
        read_from(&self.out, self.offset).unwrap_or_default()
    }

    /// The last `lines` lines of the log.
    pub fn log_tail(&self, lines: usize) -> String {
        let log = self.log();
        let skip = log.lines().count().saturating_sub(lines);
        log.lines().skip(skip).collect::<Vec<_>>().join("\n")
    }

    pub fn log_path(&self) -> &Path {
        &self.out
    }

    /// Waits until the log holds `text`.
    pub fn wait_log(&self, text: &str, limit: Duration) -> Result<(), Error> {
        let what = format!("{} to log {text:?}", self.name);
        poll::poll_until(Instant::now() + limit, &what, || self.log().contains(text).then_some(()))
    }

    /// Reads and removes the files of [`Sink::Output`].
    fn take_output(&self) -> (String, String) {
        let take = |path: &Path| {
            let text = read_from(path, 0).unwrap_or_default();
            let _ = fs::remove_file(path);
            text
        };
        (take(&self.out), self.err.as_deref().map(take).unwrap_or_default())
    }
}

/// What a program that ran to its end left.
#[derive(Debug, Clone)]
pub struct Output {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// Both streams, for messages.
    pub fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// Runs `program` to its end.
pub(super) fn run(place: &Arc<Place>, program: Program) -> Result<Output, Error> {
    let what = program.to_string();
    let process = Process::start_into(place, program, Sink::Output)?;
    let status = process.wait_exit(RUN_LIMIT);
    let (stdout, stderr) = process.take_output();
    let status = status.ok_or(Error::Deadline { what, waited: RUN_LIMIT })?;
    Ok(Output { status, stdout, stderr })
}

/// The same, and a failing status is an error. Returns standard output.
pub(super) fn run_ok(place: &Arc<Place>, program: Program) -> Result<String, Error> {
    let command = program.to_string();
    let output = run(place, program)?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = format!("{} {}", output.status, output.text());
    Err(Error::Command { command, output: said.trim().to_owned() })
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        let _ = self.child.lock().unwrap_or_else(PoisonError::into_inner).wait();
    }
}

fn files(place: &Place, program: &Program, sink: Sink) -> (PathBuf, Option<PathBuf>) {
    let logs = place.dir().join("logs");
    match sink {
        Sink::Log => (logs.join(format!("{}.{}.log", place.name(), program.name())), None),
        Sink::Output => {
            let run = OUTPUTS.fetch_add(1, Ordering::Relaxed);
            (logs.join(format!("run-{run}.out")), Some(logs.join(format!("run-{run}.err"))))
        }
    }
}

fn read_from(path: &Path, offset: u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// An unlinked file instead of a pipe: nobody has to feed it.
fn stdin(program: &Program) -> io::Result<Stdio> {
    let Some(input) = &program.input else { return Ok(Stdio::null()) };
    let mut file = tempfile::tempfile()?;
    file.write_all(input)?;
    file.rewind()?;
    Ok(file.into())
}

/// The command with everything that happens between fork and exec.
fn command(place: &Place, program: &Program) -> Result<Command, Error> {
    let search = system_path();
    let Some(file) = program.find(&search) else {
        let output = format!("no such program in {search}");
        return Err(Error::Command { command: program.to_string(), output });
    };
    let network = place.namespace.handle().try_clone().map_err(Error::io("share a namespace"))?;
    let mut mounts = vec![(place.namespace.resolv_conf(), PathBuf::from("/etc/resolv.conf"))];
    let mut path = file.clone();
    if program.user.is_some() {
        // Its user may not pass the directories above it (a checkout in /root), so it is shown a copy elsewhere.
        path = stand_in(place, &file)?;
        mounts.push((file, path.clone()));
    }
    let user = program.user.map(|uid| (Uid::from_raw(uid), Gid::from_raw(uid)));
    let mut command = Command::new(path);
    command.args(&program.args).env("PATH", search).envs(program.envs.iter().map(|(k, v)| (k, v)));
    // Its own process group: Ctrl-C in the terminal is for us, and children end with it.
    command.process_group(0).current_dir(place.dir());
    let prepare = move || {
        setns(&network, CloneFlags::CLONE_NEWNET)?;
        unshare(CloneFlags::CLONE_NEWNS)?;
        let nothing = None::<&str>;
        // Slave, not private: a namespace that is removed outside must not live on in here.
        mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_SLAVE, nothing)?;
        for (from, to) in &mounts {
            mount(Some(from), to, nothing, MsFlags::MS_BIND, nothing)?;
        }
        if let Some((uid, gid)) = user {
            drop_privileges(uid, gid)?;
        }
        // Last: a change of user would clear it.
        nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
        Ok(())
    };
    // SAFETY: between fork and exec only system calls are made; what they need was allocated before, and nix's path
    // conversions stay on the stack for paths of this length.
    unsafe { command.pre_exec(prepare) };
    Ok(command)
}

/// An empty file in the network's directory, over which the program is mounted.
fn stand_in(place: &Place, file: &Path) -> Result<PathBuf, Error> {
    let dir = place.dir().join("bin");
    let path = dir.join(file.file_name().unwrap_or_default());
    fs::create_dir_all(&dir)
        .and_then(|()| File::create(&path))
        .map_err(Error::io(format!("make {}", path.display())))?;
    Ok(path)
}

fn drop_privileges(uid: Uid, gid: Gid) -> io::Result<()> {
    for capability in 0..CAPABILITIES {
        // SAFETY: PR_CAPBSET_DROP takes a number and touches no memory.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
    }
    setgroups(&[])?;
    setgid(gid)?;
    // Leaving uid 0 clears the permitted, effective and ambient sets.
    setuid(uid)?;
    nix::sys::prctl::set_no_new_privs()?;
    Ok(())
}

/// PR_SET_PDEATHSIG looks at the parent's thread, not at its process: so one thread that never ends starts all programs.
fn spawn(command: Command) -> io::Result<Child> {
    type Job = (Command, mpsc::Sender<io::Result<Child>>);
    static STARTER: OnceLock<mpsc::Sender<Job>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (jobs, queue) = mpsc::channel::<Job>();
        std::thread::spawn(move || {
            for (mut command, reply) in queue {
                let _ = reply.send(command.spawn());
            }
        });
        jobs
    });
    let (reply, answer) = mpsc::channel();
    let gone = |_| io::Error::other("the thread that starts programs is gone");
    starter.send((command, reply)).map_err(|_| gone(mpsc::RecvError))?;
    answer.recv().map_err(gone)?
}
