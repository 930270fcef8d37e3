//! The page: the picture, the table and how both came about. It needs nothing from elsewhere.

use std::fmt::Write as _;

use super::picture::{STYLE, inline};
use super::report::Results;
use super::table::{notes, rows};

const PAGE_STYLE: &str = "\
:root{color-scheme:light dark}\
body{margin:2rem auto;max-width:60rem;padding:0 1rem;font:16px/1.5 system-ui,sans-serif;background:#fff;color:#1f2328}\
h1{font-size:1.5rem;line-height:1.25}h2{font-size:1.15rem;margin-top:2rem}\
figure{margin:0;overflow-x:auto}svg{width:100%;min-width:640px;height:auto}\
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}\
th,td{padding:.35rem .6rem;text-align:right;border-bottom:1px solid #d1d9e0}\
td{white-space:nowrap}th:first-child{text-align:left;font-weight:400}thead th{font-weight:600}\
code{font-family:ui-monospace,monospace;font-size:.9em}\
@media(prefers-color-scheme:dark){body{background:#0d1117;color:#f0f6fc}th,td{border-color:#3d444d}}";

/// The whole page.
pub(super) fn page(results: &Results) -> String {
    let mut table = String::new();
    for row in rows(results) {
        // Writing to a string does not fail.
        let _ = write!(
            table,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td></tr>",
            row.label, row.without, row.with
        );
    }
    let notes: String = notes(results)
        .iter()
        .map(|note| format!("<li>{note}</li>"))
        .collect();
    format!(
        "<!doctype html>\n\
         <html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>Seawall: ten times the load</title>\
         <style>{PAGE_STYLE}{STYLE}</style></head><body><main>\n\
         <h1>What ten times its load does to a service, without Seawall and with it</h1>\n\
         <p>{}</p>\n\
         <figure>{}</figure>\n\
         <h2>In figures</h2>\n\
         <table><thead><tr><th scope=\"col\"></th><th scope=\"col\">without Seawall</th>\
         <th scope=\"col\">with Seawall</th></tr></thead><tbody>{table}</tbody></table>\n\
         <h2>How it came about</h2>\n\
         <ul>{notes}<li>Made by <code>seawall demo --seconds {:.0}</code>, version {}; point at the picture for the figures of each moment.</li></ul>\n\
         </main></body></html>\n",
        summary(results),
        inline(results),
        results.seconds(),
        env!("CARGO_PKG_VERSION"),
    )
}

/// In one sentence or two, from the figures.
fn summary(results: &Results) -> String {
    let burst = |side: &super::report::Side| {
        let goodput = side.phases.get(1).map_or(0.0, |phase| phase.goodput);
        (
            goodput,
            100.0 * goodput / results.capacity.max(f64::MIN_POSITIVE),
        )
    };
    let ((without, without_share), (with, with_share)) =
        (burst(&results.without), burst(&results.with));
    format!(
        "At ten times its capacity the origin served {without:.0} a second by itself ({:.0} % of what it can) \
         and {with:.0} a second behind Seawall ({:.0} %).",
        without_share.min(100.0),
        with_share.min(100.0)
    )
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::fixed;
    use super::*;

    #[test]
    fn the_page_needs_nothing_from_elsewhere() {
        let page = page(&fixed());
        for elsewhere in [
            "http:", "https:", "src=", "href=", "url(", "@import", "<script",
        ] {
            assert!(!page.contains(elsewhere), "{elsewhere}");
        }
    }

    #[test]
    fn a_phone_scrolls_the_picture_and_breaks_no_figure() {
        let page = page(&fixed());
        for rule in [
            "min-width:640px",
            "overflow-x:auto",
            "td{white-space:nowrap}",
        ] {
            assert!(page.contains(rule), "{rule}");
        }
    }

    #[test]
    fn the_page_says_what_was_found() {
        let page = page(&fixed());
        assert!(page.contains("served 30 a second by itself (3 % of what it can) and 985 a second behind Seawall (98 %)"));
        assert!(page.contains(
            "<th scope=\"row\">time to recover</th><td>not within 8 s</td><td>0.3 s</td>"
        ));
        assert!(page.contains("seawall demo --seconds 20"));
    }

    #[test]
    fn every_element_is_closed() {
        let page = page(&fixed());
        for name in [
            "html", "head", "body", "main", "style", "svg", "table", "tr", "th", "td", "ul", "li",
            "title", "desc", "text", "figure", "p",
        ] {
            let opened = page.matches(&format!("<{name} ")).count()
                + page.matches(&format!("<{name}>")).count();
            assert_eq!(
                opened,
                page.matches(&format!("</{name}>")).count(),
                "{name}"
            );
        }
    }
}
