//! `weftctl certificates`: who has which certificate until when, under which anchor, and how often it was renewed.
//!
//! From the ledger that all replicas of discovery share. Those whose owner uses a later one are left out unless they are asked for.

use crate::connect::Discovery;
use crate::get;
use crate::print::{self, Format, Output, Table, date, relative, time};
use crate::scope::Scope;
use crate::trust::short;
use std::time::SystemTime;
use weft_proto::v1;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only those of this proxy
    proxy: Option<String>,
    #[command(flatten)]
    scope: Scope,
    /// Also those whose owner has a later one
    #[arg(long)]
    replaced: bool,
    /// How to print
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
}

pub async fn run(args: Args, discovery: &Discovery) -> anyhow::Result<Output> {
    let mut list = get::signed(args.scope.namespace(), args.proxy.as_deref(), discovery).await?;
    list.retain(|certificate| args.replaced || !certificate.replaced);
    let (now, wide) = (SystemTime::now(), args.output == Format::Wide);
    Ok(match args.output {
        Format::Json => print::json(&list.iter().map(get::certificate).collect::<Vec<_>>())?.into(),
        Format::Yaml => print::yaml(&list.iter().map(get::certificate).collect::<Vec<_>>())?.into(),
        Format::Table | Format::Wide if list.is_empty() => {
            Output { notes: vec![format!("no certificates {}", args.scope.place())], ..Output::default() }
        }
        Format::Table | Format::Wide => table(&list, wide, now).into(),
    })
}

fn table(list: &[v1::Certificate], wide: bool, now: SystemTime) -> String {
    let mut headings = vec!["PROXY", "IDENTITY", "ANCHOR", "BEGAN", "EXPIRES", "RENEWALS", "STATE"];
    if wide {
        headings.extend(["NOT BEFORE", "NOT AFTER", "SERIAL"]);
    }
    let mut table = Table::new(&headings);
    for certificate in list {
        let mut row = vec![
            certificate.proxy.clone(),
            certificate.identity.clone(),
            short(&certificate.anchor).to_owned(),
            relative(time(certificate.not_before), now),
            relative(time(certificate.not_after), now),
            certificate.renewals.to_string(),
            get::standing(certificate).to_owned(),
        ];
        if wide {
            row.extend([date(certificate.not_before), date(certificate.not_after), certificate.serial.clone()]);
        }
        table.row(row);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_who_has_what_until_when() {
        let certificate =
            v1::Certificate { anchor: "0123456789abcdef".to_owned(), renewals: 3, confirmed: true, ..get::example() };
        let text = table(&[certificate], false, time(4_600));
        let row = "cart-0  spiffe://weft.local/ns/shop/sa/cart  0123456789ab  1h ago  in 23h   3         in-use\n";
        assert!(text.ends_with(row), "{text}");
    }
}
