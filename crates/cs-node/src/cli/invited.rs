//! Invitations, as text and as a QR code.

use std::io::IsTerminal;

use cs_node::api::{Invited, Problem, Reply, Request};
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};

use crate::cli::args::Invitation;
use crate::cli::client::Client;
use crate::cli::{show, words};

/// `cosync invite`.
pub(crate) async fn invite(
    client: &Client,
    space: Option<String>,
    invitation: &Invitation,
    qr: bool,
) -> Result<(), Problem> {
    let request =
        Request::Invite { space, access: invitation.access(), expires_s: invitation.expires.as_secs() };
    let reply = client.ask(request).await?;
    print(client, &reply, "", qr)
}

/// Prints what invites a device, below `head`.
pub(crate) fn print(client: &Client, reply: &Reply, head: &str, qr: bool) -> Result<(), Problem> {
    let Reply::Invited(invited) = reply else { return client.out.reply(reply) };
    if client.out.is_json() {
        return client.out.reply(reply);
    }
    let mut text = head.to_owned();
    text.push_str(&show::invitation(invited, words::now_ms()));
    if (qr || std::io::stdout().is_terminal())
        && let Some(code) = qr_code(invited)
    {
        text.push('\n');
        text.push_str(&code);
        text.push('\n');
    }
    client.out.text(&text)
}

/// The invitation in half blocks, light on dark. In capitals it is a smaller code, and means the same.
fn qr_code(invited: &Invited) -> Option<String> {
    let text = invited.invitation.to_ascii_uppercase();
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    Some(code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build())
}
