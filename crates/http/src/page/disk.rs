//! The file systems that images lie on.

use layerkeeper_keeper::Status;
use layerkeeper_keeper::status::DiskStatus;
use maud::{Markup, html};

use super::text;

/// One entry each.
pub fn disk(status: &Status) -> Markup {
    html! {
        section {
            h2 { "Disk" }
            @if status.disk.is_empty() { p.quiet { "Not looked at yet." } }
            @for disk in &status.disk { (entry(disk)) }
            @if status.spool_bytes > 0 { p { b { (text::size(status.spool_bytes)) } " in the relay's spool: pieces of a pull under way, or of one that will be taken up again" } }
        }
    }
}

fn entry(disk: &DiskStatus) -> Markup {
    if let Some(cause) = &disk.error {
        return html! { p { code { (disk.path) } " " span.state.bad { "✗ unreadable" } } p.cause { (cause) } };
    }
    let used = disk.total_bytes.saturating_sub(disk.free_bytes);
    let (free, least) = (text::size(disk.free_bytes), text::size(disk.min_free_bytes));
    let low = disk.free_bytes < disk.min_free_bytes;
    let words = format!("{free} free of {}, {least} must stay free", text::size(disk.total_bytes));
    html! {
        div.card {
            h3 { code { (disk.path) } " " @if low { span.state.bad { "✗ too little free" } } @else { span.state.good { "✓ enough free" } } }
            (text::bar(&words, &[(if low { "full" } else { "used" }, used)], disk.total_bytes))
            p { b { (free) } " free of " (text::size(disk.total_bytes)) " · " (least) " must stay free" @if disk.free_inodes > 0 { " · " (text::thousands(disk.free_inodes)) " inodes free" } }
        }
    }
}
