//! The commands that may run a node themselves: `share`, `join` and `up`.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use cs_node::api::{Problem, ProblemCode, Reply, Request};
use cs_node::{Options, StartError, core};
use cs_store::StoreError;
use cs_transport::net::{Relay, RelayCredentials, RelayTransport};
use serde_json::json;

use crate::cli::args::{Join, Node, Share, Up};
use crate::cli::client::{Client, Line};
use crate::cli::foreground::{self, Running, Way};
use crate::cli::live::{self, Live};
use crate::cli::{background, invited, place, text, words};
use crate::config::{Config, RelayPlace, RelayUser, Role};

/// What to do about a damaged log.
const SALVAGE: &str = "`cosync up --salvage` keeps the damaged segment aside and goes on with everything intact; what is \
                       missing comes back from other devices. Have the disk checked.";

/// A name server that does not answer is given up after this.
const LOOKUP_LIMIT: Duration = Duration::from_secs(5);

/// `cosync share`.
pub(crate) async fn share(client: &Client, share: Share) -> Result<(), Problem> {
    let folder = place::to_share(&client.home, &share.dir)?;
    if share.name.as_ref().is_some_and(|name| name.trim().is_empty()) {
        return Err(Problem::new(
            ProblemCode::Usage,
            "The name of the space is empty.",
            "Leave `--name` out, or give one.",
        ));
    }
    let request = Request::Share {
        folder: folder.clone(),
        name: share.name,
        access: share.access.access(),
        expires_s: share.access.expires.as_secs(),
    };
    with_node(client, &share.node, share.wait.no_wait, async |line: &Line, _live: &mut Live| {
        let reply = live::patiently(client.out, "looking through the folder", line.ask(request)).await?;
        let name =
            if let Reply::Invited(invited) = &reply { words::safe(&invited.name) } else { String::new() };
        let head = format!("Sharing {} as `{name}`.\n\n", words::safe(&folder));
        invited::print(client, &reply, &head, share.qr)
    })
    .await
}

/// `cosync join`.
pub(crate) async fn join(client: &Client, join: Join) -> Result<(), Problem> {
    core::check_ticket(&join.invitation)?;
    let folder = join.dir.as_deref().map(|dir| place::to_join(&client.home, dir)).transpose()?;
    let request = Request::Join {
        ticket: join.invitation,
        folder: folder.clone(),
        limit_s: join.timeout.map(|t| t.as_secs()),
    };
    let wait = !join.wait.no_wait;
    with_node(client, &join.node, join.wait.no_wait, async |line: &Line, live: &mut Live| {
        let reply = live::join(live, line, request).await?;
        client.out.reply(&reply)?;
        let Reply::Joined { space, .. } = &reply else { return Ok(()) };
        match (line, &folder) {
            (Line::Socket(_), Some(folder)) if wait && client.out.is_live() => {
                client.out.note("Its content is on its way; Ctrl-C ends only this display.");
                live::first_sync(live, line, space).await?;
                client.out.note(&format!("Everything is in {}.", words::safe(folder)));
            }
            (Line::Socket(_), Some(_)) => {
                client.out.note("Its content is on its way: `cosync status` shows how far it is.")
            }
            (_, None) => client
                .out
                .note("Without a folder, only documents are synced: `cosync ls`, `cosync get PATH`."),
            (Line::Own(_), Some(_)) => {}
        }
        Ok(())
    })
    .await
}

/// `cosync up`.
pub(crate) async fn up(client: &Client, up: Up) -> Result<(), Problem> {
    if client.is_running().await {
        return Err(already_running(client));
    }
    if up.detached {
        return detached(client, &up.node).await;
    }
    if up.detach {
        let started = background::start(client, &up.node).await?;
        let log = client.home.log();
        let listen = listening(&client.line()).await?;
        let text = format!(
            "The node runs in the background; `cosync down` stops it.\n\n{}log        {}\n",
            about(&started.node, &listen),
            log.display()
        );
        let object = json!({ "node": started.node, "listen": listen, "pid": started.pid, "log": log });
        return client.out.own("started", object, &text);
    }
    let running = Running::start(client, &up.node, Way::Foreground).await?;
    let node = running.id();
    let listen = listening(&running.line()).await?;
    let object = json!({ "node": node, "listen": listen, "pid": std::process::id() });
    client.out.own("started", object, &about(&node, &listen))?;
    running.until_stopped(client).await
}

/// Where a node can be reached.
async fn listening(line: &Line) -> Result<Vec<String>, Problem> {
    match line.ask(Request::Status).await? {
        Reply::Status(status) => Ok(status.listen),
        _ => Ok(Vec::new()),
    }
}

fn about(node: &str, listen: &[String]) -> String {
    format!("node       {node}\nlistening  {}\n", listen.join(", "))
}

/// The node behind `up --detach`: its first line of output tells how the start went.
async fn detached(client: &Client, node: &Node) -> Result<(), Problem> {
    let running = match Running::start(client, node, Way::Background).await {
        Ok(running) => running,
        Err(problem) => {
            client.out.text(&format!("{}\n", text::problem_object(&problem)))?;
            return Err(problem);
        }
    };
    let started = background::Started { node: running.id(), pid: std::process::id() };
    client.out.text(&format!("{}\n", started.line()))?;
    running.until_stopped(client).await
}

/// Does something with the node that runs, or with one that is started for it and then goes on.
async fn with_node<F>(client: &Client, node: &Node, no_wait: bool, work: F) -> Result<(), Problem>
where
    F: AsyncFnOnce(&Line, &mut Live) -> Result<(), Problem>,
{
    let running = client.is_running().await;
    if running && node.is_given() {
        client.out.note("note: the node is running already, so options of its start have no effect; `cosync down` stops it.");
    }
    if running {
        return work(&client.line(), &mut Live::new(client.out)).await;
    }
    if no_wait {
        background::start(client, node).await?;
        let done = work(&client.line(), &mut Live::new(client.out)).await;
        if done.is_err() {
            // It was started for this alone. The problem that is told is the first one.
            let _ = background::stop(client).await;
        }
        return done;
    }
    let mut running = Running::start(client, node, Way::Foreground).await?;
    let line = running.line();
    match running.interruptible(async |live: &mut Live| work(&line, live).await).await {
        Ok(()) => running.until_stopped(client).await,
        Err(problem) => {
            running.stop(client).await?;
            Err(problem)
        }
    }
}

fn already_running(client: &Client) -> Problem {
    Problem::new(
        ProblemCode::NotRunning,
        format!("A node is running already on the state directory {}.", client.home.path().display()),
        "Commands speak to it as it is. `cosync down` stops it; `--home DIR` runs another one beside it.",
    )
}

/// How the node shall run: the command line, then the configuration file, then the defaults.
pub(crate) async fn options(client: &Client, node: &Node) -> Result<Options, Problem> {
    let file = Config::read(&client.home.config())?;
    let listen = if node.listen.is_empty() { &file.listen } else { &node.listen };
    let mut bootstrap = Vec::new();
    for named in if node.bootstrap.is_empty() { &file.bootstrap } else { &node.bootstrap } {
        let found = patient_look_up(client, &named.host, named.port).await;
        match found {
            Ok(found) => bootstrap.extend(found.into_iter().map(|addr| (named.id, addr))),
            Err(problem) if !node.bootstrap.is_empty() => return Err(problem),
            // A device that is offline starts all the same: it knows other nodes from before.
            Err(problem) => foreground::warn(client, &format!("{} Going on without it.", problem.message)),
        }
    }
    let mut relays = Vec::new();
    for named in if node.relay.is_empty() { &file.relays } else { &node.relay } {
        match patient_look_up(client, &named.host, named.port).await {
            Ok(found) => relays.extend(found.into_iter().map(|addr| relay(named, addr))),
            Err(problem) if !node.relay.is_empty() => return Err(problem),
            Err(problem) => foreground::warn(client, &format!("{} Going on without it.", problem.message)),
        }
    }
    let role = node.role.unwrap_or(file.role);
    Ok(Options {
        listen: listen.iter().map(|l| l.0).collect(),
        bootstrap,
        is_bootstrap: role == Role::Bootstrap,
        is_hub: role == Role::Hub,
        relays,
        no_port_mapping: node.no_port_mapping || !file.port_mapping,
        lan: node.lan || (file.lan && !node.no_lan),
        salvage: node.salvage,
    })
}

fn relay(named: &RelayPlace, addr: SocketAddr) -> Relay {
    let transport = if named.tcp { RelayTransport::Tcp } else { RelayTransport::Udp };
    let credentials = match &named.who {
        RelayUser::Node(id) => RelayCredentials::Node(*id),
        RelayUser::Named { user, password } => {
            RelayCredentials::Password { username: user.clone(), password: password.clone().into() }
        }
    };
    Relay { addr, transport, credentials }
}

async fn patient_look_up(client: &Client, host: &str, port: u16) -> Result<Vec<SocketAddr>, Problem> {
    live::patiently(client.out, &format!("looking up {host}"), look_up(host, port)).await
}

async fn look_up(host: &str, port: u16) -> Result<Vec<SocketAddr>, Problem> {
    let failed = |why: String| {
        Problem::new(
            ProblemCode::Unreachable,
            format!("The host `{host}` cannot be looked up: {why}."),
            "Check the name and the network, or give its numeric address.",
        )
    };
    let lookup = tokio::net::lookup_host((host, port));
    let found =
        within(LOOKUP_LIMIT, lookup).await.ok_or_else(|| failed("no name server answered".to_owned()))?;
    let found: Vec<_> = found.map_err(|error| failed(place::plain(&error)))?.collect();
    if found.is_empty() { Err(failed("it has no address".to_owned())) } else { Ok(found) }
}

async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(limit, work).await.ok()
}

/// Why a node does not start, for the person who started it.
pub(crate) fn problem_of(client: &Client, error: &StartError) -> Problem {
    let home = client.home.path().display();
    match error {
        StartError::Locked(_) => already_running(client),
        StartError::Home(_, error) if error.kind() == std::io::ErrorKind::InvalidData => Problem::new(
            ProblemCode::Corrupt,
            format!("The key of this device, identity.key in {home}, is damaged."),
            "Put it back from a backup. Without one, move it away: the device then gets a new ID, and needs new invitations.",
        ),
        StartError::Home(_, error) => home_problem(client, error),
        StartError::Store(error) => store_problem(client, error),
        StartError::Broken(error) => broken(client, error),
        StartError::Bind(error) => Problem::new(
            ProblemCode::Failed,
            match error {
                cs_transport::net::BindError::Socket { address, source } => {
                    format!("The node cannot listen on {address}: {}.", place::plain(source))
                }
                other => format!("The node cannot listen: {other}."),
            },
            "Choose another address by `--listen ADDR`; port 0 takes any that is free.",
        ),
        other => Problem::new(
            ProblemCode::Failed,
            format!("The node does not start: {other}."),
            "COSYNC_LOG=debug says more.",
        ),
    }
}

/// The state directory cannot be used.
pub(crate) fn home_problem(client: &Client, error: &std::io::Error) -> Problem {
    let full = error.kind() == std::io::ErrorKind::StorageFull;
    Problem::new(
        ProblemCode::Disk,
        format!(
            "The state directory {} cannot be used: {}.",
            client.home.path().display(),
            place::plain(error)
        ),
        if full {
            "Make room on its disk; nothing was lost."
        } else {
            "Make it a directory that you may write, or choose another by `--home DIR`."
        },
    )
}

/// What a store that opened says when it cannot be read.
pub(crate) fn broken(client: &Client, error: &StoreError) -> Problem {
    let home = client.home.path().display();
    let what = match error {
        StoreError::Corrupt { segment, offset } => {
            format!("The log in {home} is damaged: segment {segment}, at byte {offset}.")
        }
        other => format!("The store in {home} cannot be read: {other}."),
    };
    Problem::new(ProblemCode::Corrupt, what, SALVAGE)
}

fn store_problem(client: &Client, error: &cs_store::OpenError) -> Problem {
    let home = client.home.path().display();
    match error {
        cs_store::OpenError::Corrupt(damage) => Problem::new(
            ProblemCode::Corrupt,
            format!(
                "The log in {home} is damaged: segment {}, bytes {} to {}; {} in there can be saved. Nothing was changed.",
                damage.segment,
                damage.from,
                damage.until,
                words::count(damage.salvaged.into(), "operation", "operations"),
            ),
            SALVAGE,
        ),
        cs_store::OpenError::Newer => Problem::new(
            ProblemCode::Failed,
            format!("The state directory {home} was written by a later version of cosync."),
            "Update cosync, or choose another state directory by `--home DIR`.",
        ),
        cs_store::OpenError::Io(kind) => home_problem(client, &std::io::Error::from(*kind)),
        other => Problem::new(
            ProblemCode::Failed,
            format!("The store in {home} cannot be opened: {other}."),
            "COSYNC_LOG=debug says more.",
        ),
    }
}
