//! A network of one UDP datagram forwarder, as a NAT between a node and another: it can move the node to another port.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::net::UdpSocket;
use tokio::sync::mpsc;

/// What passed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Passed {
    /// The largest datagram to the node behind.
    pub(crate) longest: usize,
    /// How often the dialler was moved.
    pub(crate) moves: usize,
}

#[derive(Clone, Copy, Debug)]
enum Control {
    /// The dialler appears at another port from now on.
    Move,
    /// What the dialler sends no longer waits.
    Release,
}

pub(crate) struct Proxy {
    /// Dial this in the node's place.
    pub(crate) addr: SocketAddr,
    passed: Arc<Mutex<Passed>>,
    control: mpsc::UnboundedSender<Control>,
}

impl Proxy {
    /// Before `to`; holds the dialler's datagrams back after the first `free` of them.
    pub(crate) async fn start(to: SocketAddr, free: usize) -> Self {
        let front = UdpSocket::bind("127.0.0.1:0").await.expect("the loopback is there");
        let addr = front.local_addr().expect("it is bound");
        let (control, commands) = mpsc::unbounded_channel();
        let passed = Arc::new(Mutex::new(Passed::default()));
        tokio::spawn(forward(front, to, free, commands, passed.clone()));
        Self { addr, passed, control }
    }

    pub(crate) fn passed(&self) -> Passed {
        self.passed.lock().expect("no panic").clone()
    }

    pub(crate) fn move_dialler(&self) {
        self.control.send(Control::Move).expect("the proxy runs");
    }

    pub(crate) fn release(&self) {
        self.control.send(Control::Release).expect("the proxy runs");
    }
}

async fn forward(
    front: UdpSocket,
    to: SocketAddr,
    mut free: usize,
    mut commands: mpsc::UnboundedReceiver<Control>,
    passed: Arc<Mutex<Passed>>,
) {
    let bind = || UdpSocket::bind("127.0.0.1:0");
    let mut back = bind().await.expect("the loopback is there");
    let (mut dialler, mut waiting) = (None, VecDeque::new());
    let (mut inbound, mut outbound) = ([0; 65_536], [0; 65_536]);
    loop {
        tokio::select! {
            Ok((length, from)) = front.recv_from(&mut inbound) => {
                dialler = Some(from);
                waiting.push_back(inbound[..length].to_vec());
            }
            Ok((length, _)) = back.recv_from(&mut outbound) => {
                if let Some(dialler) = dialler {
                    let _ = front.send_to(&outbound[..length], dialler).await;
                }
            }
            command = commands.recv() => match command {
                None => return,
                Some(Control::Release) => free = usize::MAX,
                Some(Control::Move) => {
                    back = bind().await.expect("the loopback is there");
                    passed.lock().expect("no panic").moves += 1;
                }
            },
        }
        while free > 0
            && let Some(datagram) = waiting.pop_front()
        {
            free -= usize::from(free != usize::MAX);
            let _ = back.send_to(&datagram, to).await;
            let mut passed = passed.lock().expect("no panic");
            passed.longest = passed.longest.max(datagram.len());
        }
    }
}
