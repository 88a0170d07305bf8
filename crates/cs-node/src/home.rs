//! The state directory of a node: its key, its store, its socket.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use cs_identity::SecretKey;
use etcetera::BaseStrategy;
use zeroize::Zeroizing;

const KEY: &str = "identity.key";

/// A state directory. One node at a time uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home(PathBuf);

impl Home {
    /// The directory of this user: `given` if there is one, else `COSYNC_HOME`, else `cosync` in the XDG state directory.
    ///
    /// # Errors
    /// When there is neither, nor a home directory to put it in.
    pub fn find(given: Option<PathBuf>) -> io::Result<Self> {
        let named =
            given.or_else(|| std::env::var_os("COSYNC_HOME").filter(|v| !v.is_empty()).map(PathBuf::from));
        if let Some(path) = named {
            return Ok(Self(std::path::absolute(path)?));
        }
        let base = etcetera::choose_base_strategy().map_err(|_| io::Error::from(io::ErrorKind::NotFound))?;
        let state = base.state_dir().unwrap_or_else(|| base.data_dir());
        Ok(Self(state.join("cosync")))
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The socket of the local API.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.0.join("api.sock")
    }

    /// The configuration file.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.0.join("config.toml")
    }

    /// What a node in the background writes.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.0.join("cosync.log")
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.0.join("store")
    }

    pub(crate) fn index(&self, space: &str) -> PathBuf {
        self.0.join("folders").join(format!("{space}.redb"))
    }

    /// Creates the directories, readable by their owner alone.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn create(&self) -> io::Result<()> {
        create_private(&self.0)?;
        create_private(&self.0.join("folders"))
    }

    /// The node's key, made on the first start.
    ///
    /// # Errors
    /// Whatever the file system says; `InvalidData` for a file that is no key.
    pub fn secret(&self) -> io::Result<SecretKey> {
        let path = self.0.join(KEY);
        match fs::read(&path).map(Zeroizing::new) {
            Ok(bytes) => {
                let bytes: &[u8; 32] = bytes.as_slice().try_into().map_err(|_| io::ErrorKind::InvalidData)?;
                Ok(SecretKey::from_bytes(*bytes))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut bytes = Zeroizing::new([0; 32]);
                getrandom::fill(&mut *bytes).map_err(io::Error::other)?;
                // Complete and durable under another name first: a node without its key is another node.
                let fresh = self.0.join(format!("{KEY}.new"));
                write_private(&fresh, &*bytes)?;
                fs::rename(&fresh, &path)?;
                fs::File::open(&self.0)?.sync_all()?;
                Ok(SecretKey::from_bytes(*bytes))
            }
            Err(error) => Err(error),
        }
    }
}

fn create_private(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
