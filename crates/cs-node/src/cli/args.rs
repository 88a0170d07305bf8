//! What can be typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as ClapArgs, Parser, Subcommand};
use cs_node::api::Access;

use crate::config::{Bootstrap, Listen, RelayPlace, Role};

/// Folders and documents in sync between devices and people, with no server to trust.
///
/// `cosync share DIR` shares a folder and prints a code; `cosync join CODE DIR` on the other device joins it.
/// If a node is running for the state directory, commands speak to it; otherwise `share`, `join` and `up` run one
/// until Ctrl-C, or in the background with `--detach`.
#[derive(Debug, Parser)]
#[command(name = "cosync", version, max_term_width = 100, after_long_help = AFTER_HELP, infer_subcommands = false)]
pub(crate) struct Args {
    /// State directory of the node [default: $COSYNC_HOME, else `cosync` in the XDG state directory]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,
    /// Print exactly one JSON object on standard output, and errors as one on standard error
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Shown below the long help; the table is held to `ProblemCode` by a test.
pub(crate) const AFTER_HELP: &str = "\
Exit codes:
   0  done
   1  failed, for a reason that no other code names
   2  usage: the command line, the configuration file or a value is wrong
   3  not found: no such space, path, version, member, conflict or record
   4  no node is running for the state directory, or (for `up`) one already is
   5  the code or invitation is wrong, used, expired or damaged
   6  the other device could not be reached
   7  this device's rights do not allow it
   8  the folder cannot be used
   9  the disk is full or refuses to write
  10  state on disk is damaged
  11  conflicts wait for a decision (`conflicts list --exit-code`)

Environment:
  COSYNC_HOME  state directory, when --home is not given
  COSYNC_LOG   what to log: error, warn, info, debug, trace, or `target=level,…`";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Share a folder and invite a device to it
    ///
    /// Prints a short one-use code, a full invitation (which needs no rendezvous) and, on a terminal, a QR code.
    Share(Share),
    /// Join a space by a code or an invitation
    Join(Join),
    /// Run the node: in the foreground until Ctrl-C, or in the background
    Up(Up),
    /// Stop the node that is running, and wait until it has ended
    Down,
    /// Show the node, its peers and its spaces at a glance
    Status,
    /// List files and documents
    Ls {
        #[command(flatten)]
        space: InSpace,
        /// Only what is at or below this path
        path: Option<String>,
    },
    /// Print a JSON document
    Get {
        #[command(flatten)]
        space: InSpace,
        /// Its path in the space
        path: String,
    },
    /// Make a JSON document equal to a value, by the smallest edits, so that concurrent edits merge key by key
    Put {
        #[command(flatten)]
        space: InSpace,
        /// Its path in the space
        path: String,
        /// The value, or `-` to read it from standard input
        #[arg(value_name = "JSON", allow_hyphen_values = true)]
        value: String,
    },
    /// Show what was changed, by whom, newest first
    Log {
        #[command(flatten)]
        space: InSpace,
        /// Only this path
        path: Option<String>,
        /// At most this many entries
        #[arg(short = 'n', long = "limit", value_name = "N", default_value_t = 20)]
        limit: usize,
    },
    /// Show and settle what could not be merged
    Conflicts {
        #[command(flatten)]
        space: InSpace,
        #[command(subcommand)]
        command: Option<ConflictsCommand>,
    },
    /// Decide about deletions by others that were held back because they were many
    Deletions {
        #[command(flatten)]
        space: InSpace,
        #[command(subcommand)]
        command: DeletionsCommand,
    },
    /// Invite another device to a space
    Invite {
        #[command(flatten)]
        space: InSpace,
        #[command(flatten)]
        access: Invitation,
        /// Print the QR code even when standard output is no terminal
        #[arg(long)]
        qr: bool,
    },
    /// List the members of a space
    Who {
        #[command(flatten)]
        space: InSpace,
    },
    /// Call a device by a name of your own, which nobody else sees
    Name {
        /// ID of the device, the beginning of a member's, or the name it has
        node: String,
        /// The name; when left out, the device has none any more
        name: Option<String>,
    },
    /// Vouch to the members of a space that a device belongs to a person you know
    Trust {
        #[command(flatten)]
        space: InSpace,
        /// ID of the device, the beginning of a member's, or the name you gave it
        node: String,
        /// Vouch as one of several whose word is needed
        #[arg(long, conflicts_with = "withdraw")]
        marginal: bool,
        /// Take back what you vouched for
        #[arg(long)]
        withdraw: bool,
        /// Suggest what others call it
        #[arg(long, value_name = "NAME")]
        suggest: Option<String>,
    },
    /// List, add and remove the devices that are yours
    Device {
        #[command(subcommand)]
        command: Option<DeviceCommand>,
    },
    /// Take every right in a space from a device
    Revoke {
        #[command(flatten)]
        space: InSpace,
        /// ID of the device, or the beginning of it
        node: String,
    },
    /// Stop syncing one space, or all, until `resume`
    Pause {
        #[command(flatten)]
        space: InSpace,
    },
    /// Take up what was paused
    Resume {
        #[command(flatten)]
        space: InSpace,
    },
    /// Say why things are as they are: every wait, path and problem with its cause
    Doctor {
        /// A space, the beginning of a peer's ID, `dht`, `net` or `folder`; everything when left out
        subject: Option<String>,
    },
    /// Show this device's network: its NAT, mapped port, relays and hubs, and the paths to each peer
    Net,
    /// Ask the DHT itself: for those who look for a fault
    Dht {
        #[command(subcommand)]
        command: DhtCommand,
    },
    /// Print the ID of this device
    Id,
    /// Show and change the configuration file
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Watch four nodes on this machine keep a folder in sync through edits, conflicts and a crash
    Demo(Demo),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum DhtCommand {
    /// Find where a device is, by its own signed record
    Find {
        /// ID of the device, in full
        node: String,
    },
    /// Find who holds something
    Providers {
        /// Its key: 64 hexadecimal digits
        key: String,
    },
    /// Get the value that hashes to a key
    Get {
        /// The key: 64 hexadecimal digits
        key: String,
    },
    /// Publish a value under its hash, for as long as this node runs
    Put {
        /// At most 768 bytes
        value: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeviceCommand {
    /// List the devices of the person whose device this is
    List,
    /// Print this device's consent to belong to a person, for `device add` there
    Consent {
        /// ID of the person's first device, in full
        person: String,
    },
    /// Certify a device as yours; the first time this prints the key to recover with
    Add {
        /// ID of the device, in full
        node: String,
        /// What `device consent` printed on it
        consent: String,
        /// What to call it
        #[arg(long, default_value = "device")]
        label: String,
    },
    /// Take back that a device is yours
    Remove {
        /// ID of the device, the beginning of it, or its label
        node: String,
    },
    /// Make this device speak for a person whose first device is lost or stolen
    Recover {
        /// ID of the person
        person: String,
        /// The recovery key, or `-` to read it from standard input
        key: String,
    },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct InSpace {
    /// Name of the space, or the beginning of its ID; needed where there are several
    #[arg(short, long, value_name = "NAME")]
    pub(crate) space: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Invitation {
    /// The invited device may read only
    #[arg(long, conflicts_with = "manage")]
    pub(crate) read_only: bool,
    /// The invited device may also invite and revoke others
    #[arg(long)]
    pub(crate) manage: bool,
    /// How long the invitation can be used: 30m, 12h, 7d
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = lifetime)]
    pub(crate) expires: Duration,
}

impl Invitation {
    pub(crate) fn access(&self) -> Access {
        match (self.read_only, self.manage) {
            (true, _) => Access::Read,
            (_, true) => Access::Manage,
            _ => Access::Write,
        }
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Share {
    /// The folder
    pub(crate) dir: PathBuf,
    /// What to call the space [default: the folder's name]
    #[arg(long)]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) access: Invitation,
    /// Print the QR code even when standard output is no terminal
    #[arg(long)]
    pub(crate) qr: bool,
    #[command(flatten)]
    pub(crate) wait: Wait,
    #[command(flatten)]
    pub(crate) node: Node,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Join {
    /// A code (XXXXX-XXXXX) or an invitation (cosync:…)
    pub(crate) invitation: String,
    /// The folder, made if it is missing; without one, only documents are synced
    pub(crate) dir: Option<PathBuf>,
    /// Give up looking for the inviting device after this: 10s, 5m [default: 45s]
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) timeout: Option<Duration>,
    #[command(flatten)]
    pub(crate) wait: Wait,
    #[command(flatten)]
    pub(crate) node: Node,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Up {
    /// Run in the background and return when the node answers
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Started by `--detach`: says on standard output how the start went, and writes its log to standard error
    #[arg(long, hide = true, conflicts_with = "detach")]
    pub(crate) detached: bool,
    #[command(flatten)]
    pub(crate) node: Node,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Demo {
    /// Leave the folders, states and logs of the nodes for a look
    #[arg(long)]
    pub(crate) keep: bool,
    /// Plant a fault in this step, and see its check fail
    #[arg(long, value_name = "STEP", value_parser = clap::value_parser!(u8).range(1..=10))]
    pub(crate) plant: Option<u8>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Wait {
    /// Return at once and leave the node running in the background
    #[arg(long, visible_alias = "detach")]
    pub(crate) no_wait: bool,
}

/// How a node runs that this command starts. Each wins over the same setting of the configuration file.
#[derive(Debug, Default, ClapArgs)]
#[command(next_help_heading = "Options of a node that is started")]
pub(crate) struct Node {
    /// Address to listen on, as HOST:PORT with a numeric host; may be repeated [default: any port of every interface]
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Vec<Listen>,
    /// Node of the DHT to begin with; may be repeated
    #[arg(long, value_name = "ID@HOST:PORT")]
    pub(crate) bootstrap: Vec<Bootstrap>,
    /// Relay to use before those of hubs, `/tcp` behind it for TCP; may be repeated
    #[arg(long, value_name = "ID@HOST:PORT|USER:PASSWORD@HOST:PORT")]
    pub(crate) relay: Vec<RelayPlace>,
    /// Leave the router as it is instead of asking it for a port
    #[arg(long)]
    pub(crate) no_port_mapping: bool,
    /// Neither look for devices on the local network nor be found there
    #[arg(long, overrides_with = "lan")]
    pub(crate) no_lan: bool,
    /// Look for devices on the local network, also when the configuration file says otherwise
    #[arg(long, overrides_with = "no_lan")]
    pub(crate) lan: bool,
    /// What the node is for others
    #[arg(long)]
    pub(crate) role: Option<Role>,
    /// Open a damaged log: what is damaged is kept aside, everything intact goes on
    #[arg(long)]
    pub(crate) salvage: bool,
}

impl Node {
    /// Whether anything was asked for.
    pub(crate) fn is_given(&self) -> bool {
        let Self { listen, bootstrap, relay, no_port_mapping, no_lan, lan, role, salvage } = self;
        let lists = [listen.is_empty(), bootstrap.is_empty(), relay.is_empty()];
        let flags = [*no_port_mapping, *no_lan, *lan, role.is_some(), *salvage];
        lists.contains(&false) || flags.contains(&true)
    }

    /// The same options as arguments of another process.
    pub(crate) fn to_args(&self) -> Vec<String> {
        let listen = self.listen.iter().flat_map(|a| ["--listen".to_owned(), a.to_string()]);
        let bootstrap = self.bootstrap.iter().flat_map(|b| ["--bootstrap".to_owned(), b.to_string()]);
        let relays = self.relay.iter().flat_map(|r| ["--relay".to_owned(), r.to_string()]);
        let role = self.role.iter().flat_map(|r| ["--role".to_owned(), r.to_string()]);
        let flags = [
            ("--no-port-mapping", self.no_port_mapping),
            ("--no-lan", self.no_lan),
            ("--lan", self.lan),
            ("--salvage", self.salvage),
        ];
        let flags = flags.into_iter().filter(|(_, set)| *set).map(|(name, _)| name.to_owned());
        listen.chain(bootstrap).chain(relays).chain(role).chain(flags).collect()
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConflictsCommand {
    /// List the paths in conflict
    List {
        /// End with exit code 11 when there are any
        #[arg(long)]
        exit_code: bool,
    },
    /// Show the versions of one path
    Show {
        /// The path
        path: String,
    },
    /// Settle a conflict; the other versions stay in the history
    Resolve {
        /// The path
        path: String,
        /// The version to keep: `mine`, `theirs`, or the beginning of an ID that `show` prints
        #[arg(long, value_name = "mine|theirs|ID")]
        keep: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeletionsCommand {
    /// Delete the files here too
    Accept,
    /// Bring the files back everywhere
    Restore,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print one setting, or all
    Get {
        /// Its name, such as `node.listen`
        key: Option<String>,
    },
    /// Change a setting; comments and everything else in the file stay as they are
    Set {
        /// Its name, such as `node.listen`
        key: String,
        /// Its value; several for a list
        #[arg(required = true)]
        values: Vec<String>,
    },
    /// Take a setting out of the file, so that its default holds
    Unset {
        /// Its name, such as `node.listen`
        key: String,
    },
    /// Print where the file is
    Path,
}

/// Reads `90s`, `30m`, `12h`, `7d` or `2w`; zero is no time.
fn time(text: &str) -> Result<Duration, String> {
    let wrong = || "a time is a number and a unit, such as 30s, 15m, 12h or 7d".to_owned();
    let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        "w" => 7 * 24 * 60 * 60,
        _ => return Err(wrong()),
    };
    number.checked_mul(unit).filter(|s| *s > 0).map(Duration::from_secs).ok_or_else(wrong)
}

/// How long an invitation may live.
fn lifetime(text: &str) -> Result<Duration, String> {
    let year = Duration::from_secs(366 * 24 * 60 * 60);
    time(text).and_then(|t| {
        if t <= year { Ok(t) } else { Err("an invitation lives for a year at most".to_owned()) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use cs_node::api::ProblemCode;

    #[test]
    fn the_definition_of_the_command_line_has_no_contradiction() {
        Args::command().debug_assert();
    }

    #[test]
    fn every_exit_code_is_in_the_long_help() {
        use ProblemCode::*;
        let all = [
            Failed,
            Usage,
            NotFound,
            NotRunning,
            BadInvitation,
            Unreachable,
            Forbidden,
            Folder,
            Disk,
            Corrupt,
            NeedsDecision,
        ];
        let listed: Vec<u8> =
            AFTER_HELP.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect();
        let codes: Vec<u8> = std::iter::once(0).chain(all.map(ProblemCode::exit_code)).collect();
        assert_eq!(listed, codes);
    }

    #[test]
    fn lifetimes_have_a_unit_and_a_bound() {
        assert_eq!(lifetime("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(lifetime("2w"), Ok(Duration::from_secs(14 * 24 * 3600)));
        for wrong in ["", "5", "h", "1y", "0m", "-1h", "1.5h", "53w", "99999999999999999999d"] {
            assert!(lifetime(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn options_of_a_node_survive_being_passed_on() {
        let given = [
            "cosync",
            "up",
            "--listen",
            "127.0.0.1:0",
            "--listen",
            "[::1]:9",
            "--no-lan",
            "--role",
            "bootstrap",
            "--salvage",
        ];
        let Command::Up(up) = Args::try_parse_from(given).unwrap().command else { panic!("another command") };
        let again = ["cosync".to_owned(), "up".to_owned()].into_iter().chain(up.node.to_args());
        let Command::Up(again) = Args::try_parse_from(again).unwrap().command else {
            panic!("another command")
        };
        assert_eq!(format!("{:?}", again.node), format!("{:?}", up.node));
    }
}
