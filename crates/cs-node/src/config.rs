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
pub(crate) const KEYS: [&str; 6] =
    ["node.listen", "node.bootstrap", "node.relays", "node.lan", "node.port-mapping", "node.role"];

/// What a new file begins with.
pub(crate) const TEMPLATE: &str = "\
# Settings of this node. The command line wins over what is written here.
#
# [node]
# listen = [\"[::]:4040\"]                 # default: every interface, any port
# bootstrap = [\"ID@host.example:4040\"]   # nodes of the DHT to begin with
# relays = [\"ID@host.example:4040\"]      # hubs, or TURN servers as \"USER:PASSWORD@HOST:PORT\"; `/tcp` behind it for TCP
# lan = true                             # find devices on the local network
# port-mapping = true                    # ask the router for a port
# role = \"member\"                        # or \"hub\", which relays, or \"bootstrap\", which others begin with
";

/// How the node runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    /// Addresses to listen on; empty for every interface and any port.
    pub(crate) listen: Vec<Listen>,
    /// Nodes of the DHT to begin with.
    pub(crate) bootstrap: Vec<Bootstrap>,
    /// Relays, best first.
    pub(crate) relays: Vec<RelayPlace>,
    /// Whether to look for devices on the local network. Default: yes.
    pub(crate) lan: bool,
    /// Whether to ask the router for a port. Default: yes.
    pub(crate) port_mapping: bool,
    /// What the node is for others.
    pub(crate) role: Role,
}

impl Default for Config {
    fn default() -> Self {
        let (listen, bootstrap, relays) = (Vec::new(), Vec::new(), Vec::new());
        Self { listen, bootstrap, relays, lan: true, port_mapping: true, role: Role::Member }
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
            relays: node.relays.iter().map(|s| value(text, s)).collect::<Result<_, _>>()?,
            lan: node.lan.unwrap_or(default.lan),
            port_mapping: node.port_mapping.unwrap_or(default.port_mapping),
            role: node.role.as_ref().map_or(Ok(default.role), |s| value(text, s))?,
        })
    }

    /// The value of one of [`KEYS`], as JSON.
    pub(crate) fn get(&self, key: &str) -> Option<serde_json::Value> {
        let list = |items: Vec<String>| serde_json::Value::from(items);
        Some(match key {
            "node.listen" => list(self.listen.iter().map(ToString::to_string).collect()),
            "node.bootstrap" => list(self.bootstrap.iter().map(ToString::to_string).collect()),
            "node.relays" => list(self.relays.iter().map(ToString::to_string).collect()),
            "node.lan" => self.lan.into(),
            "node.port-mapping" => self.port_mapping.into(),
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
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct NodeTable {
    #[serde(default)]
    listen: Vec<Spanned<String>>,
    #[serde(default)]
    bootstrap: Vec<Spanned<String>>,
    #[serde(default)]
    relays: Vec<Spanned<String>>,
    lan: Option<bool>,
    port_mapping: Option<bool>,
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
        let (host, port) = host_and_port(place)?;
        Ok(Self { id, host, port })
    }
}

fn host_and_port(place: &str) -> Result<(String, u16), Unfit> {
    let (host, port) = place.rsplit_once(':').ok_or(Unfit("the port is missing: expected HOST:PORT"))?;
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let host = bare.unwrap_or(host);
    if host.is_empty() || (bare.is_none() && host.contains(':')) {
        return Err(Unfit("expected HOST:PORT; an IPv6 address stands in brackets"));
    }
    let port = port.parse().ok().filter(|p| *p != 0);
    Ok((host.to_owned(), port.ok_or(Unfit("the port is a number from 1 to 65535"))?))
}

/// A relay: a hub, or a TURN server of another make. Its host is looked up when the node starts.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct RelayPlace {
    pub(crate) who: RelayUser,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Over TCP instead of UDP.
    pub(crate) tcp: bool,
}

/// Who this node is to a relay.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum RelayUser {
    /// The relay is this node, and needs no password.
    Node(NodeId),
    /// As a TURN server was told.
    Named { user: String, password: String },
}

impl FromStr for RelayPlace {
    type Err = Unfit;

    fn from_str(text: &str) -> Result<Self, Unfit> {
        let expected = Unfit("expected ID@HOST:PORT or USER:PASSWORD@HOST:PORT, perhaps with /tcp behind it");
        let (who, place) = text.rsplit_once('@').ok_or(expected)?;
        let (place, tcp) = match place.rsplit_once('/') {
            None => (place, false),
            Some((place, "udp")) => (place, false),
            Some((place, "tcp")) => (place, true),
            Some(_) => return Err(expected),
        };
        let who = match (who.parse(), who.split_once(':')) {
            (Ok(id), _) => RelayUser::Node(id),
            (_, Some((user, password))) if !user.is_empty() => {
                RelayUser::Named { user: user.to_owned(), password: password.to_owned() }
            }
            _ => return Err(expected),
        };
        let (host, port) = host_and_port(place)?;
        Ok(Self { who, host, port, tcp })
    }
}

impl fmt::Display for RelayPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { who, host, port, tcp } = self;
        match who {
            RelayUser::Node(id) => write!(f, "{id}@")?,
            RelayUser::Named { user, password } => write!(f, "{user}:{password}@")?,
        }
        if host.contains(':') {
            write!(f, "[{host}]:{port}")?
        } else {
            write!(f, "{host}:{port}")?
        }
        f.write_str(if *tcp { "/tcp" } else { "" })
    }
}

/// The password is left out.
impl fmt::Debug for RelayPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, tcp, .. } = self;
        f.debug_struct("RelayPlace")
            .field("host", host)
            .field("port", port)
            .field("tcp", tcp)
            .finish_non_exhaustive()
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
    /// A node that everybody can reach: passes signals on and relays for those who cannot be reached
    Hub,
    /// A hub that others begin with: gives peer lists and the signed network configuration too
    Bootstrap,
}

impl FromStr for Role {
    type Err = Unfit;

    fn from_str(text: &str) -> Result<Self, Unfit> {
        match text {
            "member" => Ok(Self::Member),
            "hub" => Ok(Self::Hub),
            "bootstrap" => Ok(Self::Bootstrap),
            _ => Err(Unfit("expected `member`, `hub` or `bootstrap`")),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Member => "member",
            Self::Hub => "hub",
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
        assert_eq!((config.lan, config.port_mapping, config.role), (true, true, Role::Member));
        assert_eq!(config.relays[0].to_string(), format!("{}@host.example:4040", id()));
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
    fn a_relay_is_read_as_it_is_written_and_its_password_is_not_shown() {
        let own = format!("{}@host.example:4040", id());
        for text in [own.clone(), format!("{own}/tcp"), "me:se:cr@et@[2001:db8::1]:443/tcp".to_owned()] {
            let relay: RelayPlace = text.parse().unwrap();
            assert_eq!(relay.to_string(), text);
            assert!(!format!("{relay:?}").contains("cr@et"));
        }
        for text in ["host:1", "nobody@host:1", ":word@host:1", "me:word@host", "me:word@host:1/sctp"] {
            assert!(text.parse::<RelayPlace>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_address_may_leave_the_host_out() {
        assert_eq!(":4040".parse(), Ok(Listen("[::]:4040".parse().unwrap())));
        assert!("4040".parse::<Listen>().is_err());
        assert!("localhost:4040".parse::<Listen>().is_err());
    }
}
