//! The key schedule and packet protection (TP-2, TP-5).

use core::hash::{Hash, Hasher};

use bytes::BytesMut;
use cs_crypto::aead;
use cs_crypto::kdf::{expand, expand_key, extract};
use cs_crypto::noise;
use noq_proto::crypto::{CryptoError, HeaderKey, KeyPair, Keys, PacketKey};
use noq_proto::{ConnectionId, PathId, Side};
use zeroize::Zeroizing;

/// Salt of the initial keys, which hide nothing from whoever reads this: they only tell our packets from noise.
const INITIAL_SALT: &[u8] = b"cosmic-sync quic initial salt v1";
/// Key of the tag on Retry packets: integrity against accidents, as in RFC 9001 section 5.8.
const RETRY_KEY: &[u8] = b"cosmic-sync quic retry key v1";

/// Packets under one 1-RTT key before the ratchet turns. Phases far below 2^20 packets can deadlock the stack when a
/// path fails one way; the cipher itself would allow 2^62.
const PACKETS_PER_PHASE: u64 = 1 << 22;
/// Forged packets before the connection is given up: the limit of RFC 9001 section 6.6 for ChaCha20-Poly1305.
const FORGERY_LIMIT: u64 = 1 << 36;

/// Traffic secrets of one level, by who sends with them.
pub(crate) struct Secrets {
    dialler: Zeroizing<[u8; 32]>,
    acceptor: Zeroizing<[u8; 32]>,
}

impl Secrets {
    fn derive(root: &[u8; 32], dialler: &[u8], acceptor: &[u8]) -> Self {
        Self { dialler: expand_key(root, &[dialler]), acceptor: expand_key(root, &[acceptor]) }
    }

    /// Packet and header keys for `side`.
    pub(crate) fn keys(&self, side: Side) -> Keys {
        let (local, remote) = self.ordered(side);
        Keys {
            header: KeyPair { local: header_key(local), remote: header_key(remote) },
            packet: KeyPair { local: packet_key(local), remote: packet_key(remote) },
        }
    }

    /// Turns the ratchet (the old secrets are wiped) and returns the new packet keys. Header keys never change, as in
    /// RFC 9001 section 6.
    pub(crate) fn advance(&mut self, side: Side) -> KeyPair<Box<dyn PacketKey>> {
        self.dialler = expand_key(&self.dialler, &[b"quic ku"]);
        self.acceptor = expand_key(&self.acceptor, &[b"quic ku"]);
        let (local, remote) = self.ordered(side);
        KeyPair { local: packet_key(local), remote: packet_key(remote) }
    }

    fn ordered(&self, side: Side) -> (&[u8; 32], &[u8; 32]) {
        match side {
            Side::Client => (&self.dialler, &self.acceptor),
            Side::Server => (&self.acceptor, &self.dialler),
        }
    }
}

/// Everything that a finished Noise handshake gives to QUIC. Rule TP-5.
pub(crate) struct Schedule {
    pub(crate) handshake: Secrets,
    pub(crate) application: Secrets,
    pub(crate) exporter: Zeroizing<[u8; 32]>,
    pub(crate) confirm_dialler: Zeroizing<[u8; 32]>,
    pub(crate) confirm_acceptor: Zeroizing<[u8; 32]>,
}

impl Schedule {
    pub(crate) fn new(keys: &noise::Keys) -> Self {
        let root = keys.export(b"cosmic-sync quic v1", &keys.handshake_hash);
        Self {
            handshake: Secrets::derive(&root, b"hs dialler", b"hs acceptor"),
            application: Secrets::derive(&root, b"ap dialler", b"ap acceptor"),
            exporter: expand_key(&root, &[b"exporter"]),
            confirm_dialler: expand_key(&root, &[b"confirm dialler"]),
            confirm_acceptor: expand_key(&root, &[b"confirm acceptor"]),
        }
    }
}

/// The secret of early data: from the handshake as it is after the first message. Rule TP-17.
pub(crate) fn early_secret(
    export: impl Fn(&[u8], &[u8]) -> Option<Zeroizing<[u8; 32]>>,
    transcript: &[u8; 32],
) -> Option<Zeroizing<[u8; 32]>> {
    export(b"cosmic-sync quic early v1", transcript)
}

/// The keys of early data, which only the dialler sends. Rule TP-17.
pub(crate) fn early_keys(secret: &[u8; 32]) -> (Box<dyn HeaderKey>, Box<dyn PacketKey>) {
    (header_key(secret), packet_key(secret))
}

/// The keys of Initial packets: known to everybody who sees the connection ID. Rule TP-2.
pub(crate) fn initial_keys(connection: ConnectionId, side: Side) -> Keys {
    let root = extract(INITIAL_SALT, &connection);
    Secrets::derive(&root, b"initial dialler", b"initial acceptor").keys(side)
}

/// The tag of a Retry packet: HMAC-SHA256 of its pseudo-packet (RFC 9001 section 5.8), cut to 128 bits.
pub(crate) fn retry_tag(original: ConnectionId, packet: &[u8]) -> [u8; 16] {
    let mut pseudo = Vec::with_capacity(1 + original.len() + packet.len());
    pseudo.push(u8::try_from(original.len()).unwrap_or(u8::MAX));
    pseudo.extend_from_slice(&original);
    pseudo.extend_from_slice(packet);
    let mac = extract(RETRY_KEY, &pseudo);
    let mut tag = [0; 16];
    tag.copy_from_slice(mac.first_chunk::<16>().expect("a MAC has 32 bytes"));
    tag
}

/// Keying material for `label` and `context`, both length-prefixed so that no two pairs meet.
pub(crate) fn export(exporter: &[u8; 32], label: &[u8], context: &[u8], output: &mut [u8]) -> bool {
    let length = (label.len() as u64).to_be_bytes();
    expand(exporter, &[&length, label, context], output).is_ok()
}

fn packet_key(secret: &[u8; 32]) -> Box<dyn PacketKey> {
    let mut iv = [0; 12];
    expand(secret, &[b"quic iv"], &mut iv).expect("12 bytes are below the limit");
    Box::new(Packet { key: aead::Key::new(&expand_key(secret, &[b"quic key"])), iv })
}

fn header_key(secret: &[u8; 32]) -> Box<dyn HeaderKey> {
    Box::new(Header(aead::HeaderKey::new(&expand_key(secret, &[b"quic hp"]))))
}

/// Packet protection of RFC 9001 section 5.3, with the path in the nonce as in draft-ietf-quic-multipath section 2.4.
struct Packet {
    key: aead::Key,
    iv: [u8; 12],
}

impl Packet {
    fn nonce(&self, path: PathId, number: u64) -> [u8; 12] {
        let counter = (u128::from(path_number(path)) << 64) | u128::from(number);
        let mut nonce = self.iv;
        let [_, _, _, _, bytes @ ..] = counter.to_be_bytes();
        for (byte, mask) in nonce.iter_mut().zip(bytes) {
            *byte ^= mask;
        }
        nonce
    }
}

impl PacketKey for Packet {
    fn encrypt(&self, path: PathId, number: u64, packet: &mut [u8], header: usize) {
        let (header, body) = packet.split_at_mut(header);
        self.key.seal_packet(&self.nonce(path, number), header, body);
    }

    fn decrypt(
        &self,
        path: PathId,
        number: u64,
        header: &[u8],
        payload: &mut BytesMut,
    ) -> Result<(), CryptoError> {
        let opened = self.key.open_packet(&self.nonce(path, number), header, payload);
        let length = opened.map_err(|_| CryptoError)?.len();
        payload.truncate(length);
        Ok(())
    }

    fn tag_len(&self) -> usize {
        aead::TAG_LENGTH
    }

    fn confidentiality_limit(&self) -> u64 {
        PACKETS_PER_PHASE
    }

    fn integrity_limit(&self) -> u64 {
        FORGERY_LIMIT
    }
}

/// The number inside a [`PathId`], which only its `Hash` and its wire encoding tell.
pub(crate) fn path_number(path: PathId) -> u32 {
    struct Capture(u32);
    impl Hasher for Capture {
        fn write_u32(&mut self, number: u32) {
            self.0 = number;
        }
        fn write(&mut self, _: &[u8]) {}
        fn finish(&self) -> u64 {
            self.0.into()
        }
    }
    let mut capture = Capture(0);
    path.hash(&mut capture);
    capture.0
}

/// Header protection of RFC 9001 sections 5.4.1 and 5.4.4.
struct Header(aead::HeaderKey);

impl Header {
    /// The sample starts four bytes after the packet number's first (RFC 9001 section 5.4.2).
    fn mask(&self, number_at: usize, packet: &[u8]) -> Option<[u8; 5]> {
        let sample = packet.get(number_at + 4..)?.first_chunk()?;
        Some(self.0.mask(sample))
    }
}

/// Masks the packet number's bytes.
fn mask_number(packet: &mut [u8], number_at: usize, length: usize, mask: &[u8; 5]) {
    let [_, mask @ ..] = mask;
    for (byte, mask) in packet.iter_mut().skip(number_at).take(length).zip(mask) {
        *byte ^= mask;
    }
}

/// The bits of the first byte that are protected: four in long headers, five in short ones.
fn first_mask(first: u8, mask: &[u8; 5]) -> u8 {
    let [mask, ..] = mask;
    mask & if first & 0x80 == 0 { 0x1f } else { 0x0f }
}

fn number_length(first: u8) -> usize {
    usize::from(first & 3) + 1
}

impl HeaderKey for Header {
    fn decrypt(&self, number_at: usize, packet: &mut [u8]) {
        // noq checked the length; a packet too short for a sample stays as it is, and its tag then fails.
        let Some(mask) = self.mask(number_at, packet) else { return };
        let Some(first) = packet.first_mut() else { return };
        *first ^= first_mask(*first, &mask);
        let length = number_length(*first);
        mask_number(packet, number_at, length, &mask);
    }

    fn encrypt(&self, number_at: usize, packet: &mut [u8]) {
        let Some(mask) = self.mask(number_at, packet) else { return };
        let Some(first) = packet.first_mut() else { return };
        let length = number_length(*first);
        *first ^= first_mask(*first, &mask);
        mask_number(packet, number_at, length, &mask);
    }

    fn sample_size(&self) -> usize {
        16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex<const N: usize>(text: &str) -> [u8; N] {
        core::array::from_fn(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).expect("hex"))
    }

    // TP-5: RFC 9001 appendix A.5, whose key and packet are ChaCha20's.
    #[test]
    fn tp_5_the_packet_of_rfc_9001_appendix_a_5_comes_out() {
        let key = hex("c6d98ff3441c3fe1b2182094f69caa2ed4b716b65488960a7a984979fb23e1c8");
        let packet = Packet { key: aead::Key::new(&key), iv: hex("e0459b3474bdd0e44a41c144") };
        let header = Header(aead::HeaderKey::new(&hex(
            "25a282b9e82f06f21f488917a4fc8f1b73573685608597d0efcb076b0ab7a7a4",
        )));
        let mut bytes = hex::<4>("4200bff4").to_vec();
        bytes.push(1);
        bytes.extend_from_slice(&[0; 16]);
        packet.encrypt(PathId::ZERO, 654_360_564, &mut bytes, 4);
        header.encrypt(1, &mut bytes);
        assert_eq!(bytes, hex::<21>("4cfe4189655e5cd55c41f69080575d7999c25a5bfb"));
        header.decrypt(1, &mut bytes);
        let mut payload = BytesMut::from(&bytes[4..]);
        packet.decrypt(PathId::ZERO, 654_360_564, &bytes[..4], &mut payload).expect("our own packet");
        assert_eq!(&payload[..], &[1]);
    }

    #[test]
    fn tp_5_two_paths_never_share_a_nonce() {
        let packet = Packet { key: aead::Key::new(&[1; 32]), iv: [9; 12] };
        let one = packet.nonce(PathId::from(1u8), 7);
        assert_ne!(one, packet.nonce(PathId::ZERO, 7));
        assert_eq!(one[..4], [9, 9, 9, 9 ^ 1]);
        assert_eq!(path_number(PathId::from(70_000u32)), 70_000);
    }

    #[test]
    fn tp_5_both_sides_ratchet_alike_and_the_old_key_opens_nothing_new() {
        let derive = || Secrets::derive(&[3; 32], b"a", b"b");
        let (mut dialler, mut acceptor) = (derive(), derive());
        let old = acceptor.keys(Side::Server);
        let sender = dialler.advance(Side::Client);
        let receiver = acceptor.advance(Side::Server);
        let mut bytes = vec![0; 20];
        sender.local.encrypt(PathId::ZERO, 1, &mut bytes, 0);
        let mut copy = BytesMut::from(&bytes[..]);
        assert!(old.packet.remote.decrypt(PathId::ZERO, 1, &[], &mut copy).is_err());
        let mut copy = BytesMut::from(&bytes[..]);
        assert!(receiver.remote.decrypt(PathId::ZERO, 1, &[], &mut copy).is_ok());
    }
}
