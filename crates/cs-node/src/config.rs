//! The configuration file: how the node runs when the command line does not say.

use std::fmt;
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::Path;
use std::str::FromStr;

use clap::ValueEnum;
use cs_identity::NodeId;
use cs_node::api::{Problem, ProblemCode};
use serde::Deserialize;
use toml::Spanned;

/// The settings there are, by name.
pub(crate) const KEYS: [&str; 4] = ["node.listen", "node.bootstrap", "node.lan", "node.role"];

/// What a new file begins with.
pub(crate) const TEMPLATE: &str = "\
# Settings of this node. The command line wins over what is written here.
#
# [node]
# listen = [\"[::]:4040\"]                 # default: every interface, any port
# bootstrap = [\"ID@host.example:4040\"]   # nodes of the DHT to begin with
# lan = true                             # find devices on the local network
# role = \"member\"                        # or \"bootstrap\": a node that others begin with
";

/// How the node runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    /// Addresses to listen on; empty for every interface and any port.
    pub(crate) listen: Vec<Listen>,
    /// Nodes of the DHT to begin with.
    pub(crate) bootstrap: Vec<Bootstrap>,
    /// Whether to look for devices on the local network. Default: yes.
    pub(crate) lan: bool,
    /// What the node is for others.
    pub(crate) role: Role,
}

impl Default for Config {
    fn default() -> Self {
        Self { listen: Vec::new(), bootstrap: Vec::new(), lan: true, role: Role::Member }
    }
}

impl Config {
    /// Reads the file; the defaults where there is none.
    ///
    /// # Errors
    /// A problem that names the file, the line and what to do.
    pub(crate) fn read(path: &Path) -> Result<Self, Problem> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text).map_err(|invalid| invalid.problem(path)),
            // A state directory that cannot be is found out when it is made.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(Self::default())
            }
            Err(error) => Err(Problem::new(
                ProblemCode::Usage,
                format!("The configuration file {} cannot be read: {error}.", path.display()),
                "Make it a text file in UTF-8 that you may read, or move it away.",
            )),
        }
    }

    /// Reads the text of a file.
    pub(crate) fn parse(text: &str) -> Result<Self, Invalid> {
        let file: File = toml::from_str(text).map_err(|error| Invalid {
            line: error.span().map_or(1, |span| line_of(text, span.start)),
            what: error.message().to_owned(),
        })?;
        let default = Self::default();
        let node = file.node;
        Ok(Self {
            listen: node.listen.iter().map(|s| value(text, s)).collect::<Result<_, _>>()?,
            bootstrap: node.bootstrap.iter().map(|s| value(text, s)).collect::<Result<_, _>>()?,
            lan: node.lan.unwrap_or(default.lan),
            role: node.role.as_ref().map_or(Ok(default.role), |s| value(text, s))?,
        })
    }

    /// The value of one of [`KEYS`], as JSON.
    pub(crate) fn get(&self, key: &str) -> Option<serde_json::Value> {
        let list = |items: Vec<String>| serde_json::Value::from(items);
        Some(match key {
            "node.listen" => list(self.listen.iter().map(ToString::to_string).collect()),
            "node.bootstrap" => list(self.bootstrap.iter().map(ToString::to_string).collect()),
            "node.lan" => self.lan.into(),
            "node.role" => self.role.to_string().into(),
            _ => return None,
        })
    }
}

/// Why a file is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Invalid {
    /// Counted from 1.
    pub(crate) line: usize,
    pub(crate) what: String,
}

impl Invalid {
    /// For the person who wrote the file.
    pub(crate) fn problem(&self, path: &Path) -> Problem {
        let Self { line, what } = self;
        Problem::new(
            ProblemCode::Usage,
            format!("The configuration file {}, line {line}: {what}.", path.display()),
            "Correct this line or take it out; `cosync help config set` tells how to change a setting.",
        )
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    node: NodeTable,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeTable {
    #[serde(default)]
    listen: Vec<Spanned<String>>,
    #[serde(default)]
    bootstrap: Vec<Spanned<String>>,
    lan: Option<bool>,
    role: Option<Spanned<String>>,
}

fn value<T: FromStr<Err = Unfit>>(text: &str, given: &Spanned<String>) -> Result<T, Invalid> {
    let line = || line_of(text, given.span().start);
    given
        .get_ref()
        .parse()
        .map_err(|Unfit(what)| Invalid { line: line(), what: format!("`{}`: {what}", given.get_ref()) })
}

fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|b| *b == b'\n').count() + 1
}

/// A value that is not what its setting takes, and what that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unfit(&'static str);

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Unfit {}

/// An address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Listen(pub(crate) SocketAddr);

impl FromStr for Listen {
    type Err = Unfit;

    fn from_str(text: &str) -> Result<Self, Unfit> {
        let wrong = Unfit("expected an address and a port, such as 0.0.0.0:4040, [::]:4040 or :4040");
        if let Some(port) = text.strip_prefix(':') {
            let port = port.parse().map_err(|_| wrong)?;
            return Ok(Self(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))));
        }
        text.parse().map(Self).map_err(|_| wrong)
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A node of the DHT to begin with. Its host is looked up when the node starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bootstrap {
    pub(crate) id: NodeId,
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl FromStr for Bootstrap {
    type Err = Unfit;

    fn from_str(text: &str) -> Result<Self, Unfit> {
        let (id, place) = text.split_once('@').ok_or(Unfit("expected ID@HOST:PORT"))?;
        let id = id
            .parse()
            .map_err(|_| Unfit("the part before `@` is not the ID of a node (`cosync id` prints it)"))?;
        let (host, port) =
            place.rsplit_once(':').ok_or(Unfit("the port is missing: expected ID@HOST:PORT"))?;
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let host = bare.unwrap_or(host);
        if host.is_empty() || (bare.is_none() && host.contains(':')) {
            return Err(Unfit("expected ID@HOST:PORT; an IPv6 address stands in brackets"));
        }
        let port =
            port.parse().ok().filter(|p| *p != 0).ok_or(Unfit("the port is a number from 1 to 65535"))?;
        Ok(Self { id, host: host.to_owned(), port })
    }
}

impl fmt::Display for Bootstrap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, host, port } = self;
        if host.contains(':') { write!(f, "{id}@[{host}]:{port}") } else { write!(f, "{id}@{host}:{port}") }
    }
}

/// What the node is for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// A device among others
    Member,
    /// A node that others begin with: gives peer lists and the signed network configuration
    Bootstrap,
}

impl FromStr for Role {
    type Err = Unfit;

    fn from_str(text: &str) -> Result<Self, Unfit> {
        match text {
            "member" => Ok(Self::Member),
            "bootstrap" => Ok(Self::Bootstrap),
            _ => Err(Unfit("expected `member` or `bootstrap`")),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Member => "member",
            Self::Bootstrap => "bootstrap",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> NodeId {
        cs_identity::SecretKey::from_bytes([7; 32]).node_id()
    }

    #[test]
    fn a_missing_an_empty_and_a_new_file_mean_the_defaults() {
        assert_eq!(Config::parse(""), Ok(Config::default()));
        assert_eq!(Config::parse(TEMPLATE), Ok(Config::default()));
        assert_eq!(Config::read(Path::new("/nonexistent/config.toml")), Ok(Config::default()));
    }

    #[test]
    fn what_a_new_file_suggests_is_accepted_when_it_is_taken_up() {
        let taken: Vec<&str> = TEMPLATE.lines().skip(2).map(|l| l.trim_start_matches("# ")).collect();
        let text = taken.join("\n").replace("ID@", &format!("{}@", id()));
        let config = Config::parse(&text).unwrap();
        assert_eq!(config.listen, [Listen("[::]:4040".parse().unwrap())]);
        assert_eq!(config.bootstrap, [Bootstrap { id: id(), host: "host.example".into(), port: 4040 }]);
        assert_eq!((config.lan, config.role), (true, Role::Member));
    }

    #[test]
    fn a_mistake_is_found_with_its_line() {
        let line = |text: &str| Config::parse(text).unwrap_err().line;
        assert_eq!(line("[node]\nlan = true\nlisen = []\n"), 3);
        assert_eq!(line("[node]\nlisten = [\n  \"127.0.0.1:1\",\n  \"localhost\",\n]\n"), 4);
        assert_eq!(line("\n[node]\nrole = \"king\"\n"), 3);
        assert_eq!(line("[node]\nlan = \"yes\"\n"), 2);
        assert_eq!(line("[node\n"), 1);
        assert_eq!(line("[other]\n"), 1);
    }

    #[test]
    fn a_bootstrap_node_is_read_as_it_is_written() {
        for host in ["host.example", "192.0.2.1", "[2001:db8::1]"] {
            let text = format!("{}@{host}:4040", id());
            assert_eq!(text.parse::<Bootstrap>().unwrap().to_string(), text);
        }
        let bad = ["host:1", "x@host:1", "@host:1"].map(str::to_owned);
        let bad_place = ["host", ":1", "host:0", "host:70000", "2001:db8::1:4040", "[]:1"];
        for text in bad.into_iter().chain(bad_place.map(|place| format!("{}@{place}", id()))) {
            assert!(text.parse::<Bootstrap>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_address_may_leave_the_host_out() {
        assert_eq!(":4040".parse(), Ok(Listen("[::]:4040".parse().unwrap())));
        assert!("4040".parse::<Listen>().is_err());
        assert!("localhost:4040".parse::<Listen>().is_err());
    }
}
