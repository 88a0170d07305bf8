//! Syncthing from Debian as the peer: two instances that know only each other.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use cs_tests::real::{Usage, call, until, usage};
use serde_json::Value;

use crate::pair::{Pair, System};
use crate::rows::Failure;

const BINARY: &str = "/usr/bin/syncthing";

/// The key of the REST API: it listens on loopback only, for as long as the bench runs.
const KEY: &str = "bench";

/// An installed Syncthing.
pub(crate) struct Syncthing {
    name: String,
}

impl Syncthing {
    /// The one that is installed, if any.
    pub(crate) fn find() -> Option<Self> {
        let output = Command::new(BINARY).arg("--version").output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        Some(Self { name: format!("Syncthing {}", text.split_whitespace().nth(1)?.trim_start_matches('v')) })
    }
}

impl System for Syncthing {
    fn name(&self) -> &str {
        &self.name
    }

    fn start(&self, work: &Path, from: &Path, to: &Path) -> Result<Box<dyn Pair>, Failure> {
        let folders = [from, to];
        let mut sides = Vec::new();
        for (name, folder) in ["sa", "sb"].iter().zip(folders) {
            // Its sign that the folder is the right one.
            std::fs::create_dir_all(folder.join(".stfolder"))?;
            sides.push(Side::generate(work.join(name))?);
        }
        for (side, folder) in sides.iter().zip(folders) {
            std::fs::write(side.home.join("config.xml"), side.config(folder, &sides))?;
        }
        let [first, second] = [0, 1].map(|at| sides[at].run());
        Ok(Box::new(Two([first?, second?])))
    }
}

/// One instance before it runs.
struct Side {
    home: PathBuf,
    id: String,
    sync: u16,
    api: u16,
}

impl Side {
    fn generate(home: PathBuf) -> Result<Self, Failure> {
        let made = Command::new(BINARY).arg("generate").arg("--home").arg(&home).output()?;
        if !made.status.success() {
            return Err(Failure::new(String::from_utf8_lossy(&made.stderr)));
        }
        let id = Command::new(BINARY).arg("--device-id").arg("--home").arg(&home).output()?;
        let id = String::from_utf8_lossy(&id.stdout).trim().to_owned();
        Ok(Self { home, id, sync: free_port()?, api: free_port()? })
    }

    /// Nothing leaves this machine: no discovery, relays, port mapping, reports or upgrades.
    fn config(&self, folder: &Path, sides: &[Self]) -> String {
        let members: String = sides.iter().map(|side| format!("<device id=\"{}\"/>", side.id)).collect();
        let devices: String = sides.iter().map(Self::device).collect();
        format!(
            "<configuration version=\"35\">\
             <folder id=\"bench\" label=\"bench\" path=\"{folder}\" type=\"sendreceive\" rescanIntervalS=\"3600\" \
             fsWatcherEnabled=\"true\" fsWatcherDelayS=\"10\">{members}</folder>{devices}\
             <gui enabled=\"true\" tls=\"false\"><address>127.0.0.1:{api}</address><apikey>{KEY}</apikey></gui>\
             <options><listenAddress>tcp://127.0.0.1:{sync}</listenAddress>\
             <globalAnnounceEnabled>false</globalAnnounceEnabled><localAnnounceEnabled>false</localAnnounceEnabled>\
             <relaysEnabled>false</relaysEnabled><natEnabled>false</natEnabled><urAccepted>-1</urAccepted>\
             <crashReportingEnabled>false</crashReportingEnabled><startBrowser>false</startBrowser>\
             <autoUpgradeIntervalH>0</autoUpgradeIntervalH><reconnectionIntervalS>1</reconnectionIntervalS>\
             </options></configuration>",
            folder = folder.display(),
            api = self.api,
            sync = self.sync,
        )
    }

    fn device(&self) -> String {
        let Self { id, sync, .. } = self;
        format!("<device id=\"{id}\" name=\"{sync}\"><address>tcp://127.0.0.1:{sync}</address></device>")
    }

    fn run(&self) -> io::Result<Instance> {
        let child = Command::new(BINARY)
            .args(["serve", "--no-browser", "--no-restart", "--no-upgrade", "--home"])
            .arg(&self.home)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Instance { child, api: self.api })
    }
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// One running instance.
struct Instance {
    child: Child,
    api: u16,
}

impl Instance {
    fn get(&self, path: &str) -> Option<Value> {
        let stream = TcpStream::connect(("127.0.0.1", self.api)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(60))).ok()?;
        let answer = call(stream, &format!("GET {path}\nX-API-Key: {KEY}"), b"").ok()?;
        (answer.status == 200).then_some(answer.body)
    }

    fn is_synced(&self, files: u64) -> bool {
        self.get("/rest/db/status?folder=bench").is_some_and(|status| {
            status["state"] == "idle"
                && status["needTotalItems"] == 0
                && status["globalFiles"].as_u64().zip(status["globalSymlinks"].as_u64()).map(|(f, l)| f + l)
                    == Some(files)
        })
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let Ok(stream) = TcpStream::connect(("127.0.0.1", self.api)) {
            // The process is killed if it does not obey.
            let _ = call(stream, &format!("POST /rest/system/shutdown\nX-API-Key: {KEY}"), b"");
        }
        let ended = until(Duration::from_secs(10), || self.child.try_wait().ok().flatten());
        if ended.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

struct Two([Instance; 2]);

impl Pair for Two {
    fn is_synced(&self, files: u64) -> bool {
        self.0.iter().all(|side| side.is_synced(files))
    }

    fn usages(&self) -> Option<[Usage; 2]> {
        let [first, second] = &self.0;
        Some([usage(first.child.id())?, usage(second.child.id())?])
    }
}
