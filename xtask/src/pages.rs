//! The project's own texts as pages of the site: model cards, guides, credits.

use crate::{
    fetched::write,
    shell::{Result, root},
};
use pulldown_cmark::{Options, Parser, html::push_html};
use std::{fs, path::Path};

/// What each page is called, where its text lies, and its title.
const PAGES: [(&str, &str, &str); 7] = [
    ("imagenet", "www/models/imagenet/MODEL_CARD.md", "ImageNet 1000"),
    ("everyday", "www/models/everyday/MODEL_CARD.md", "Everyday 100"),
    ("your-own-model", "docs/your-own-model.md", "Your own model"),
    ("judging", "docs/judging.md", "How far to trust heatmaps"),
    ("package", "pkg/README.md", "On your own page"),
    ("element", "docs/element.md", "The element"),
    ("credits", "www/samples/CREDITS.md", "Picture credits"),
];

/// What the page and the figure for frames may do: they take pictures and networks from wherever a link says.
const POLICY: &str = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; \
    img-src 'self' blob: data: https: http:; connect-src 'self' blob: data: https: http:; worker-src 'self' blob:; \
    object-src 'none'; base-uri 'none'; form-action 'none'";

/// What a page with figures allows besides, and loads.
const LIVE: (&str, &str) = (
    "; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'",
    "  <script type=\"module\" src=\"../gradcam-web/index.js\"></script>\n",
);

/// What all pages' heads begin with.
fn head(policy: &str) -> String {
    format!(
        "<head>\n  <meta charset=\"utf-8\">\n  \
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n  \
         <meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">"
    )
}

/// Writes them below `about/` of the site, and the heads of the pages that are there.
pub fn build(site: &Path) -> Result<()> {
    for name in ["index.html", "embed.html"] {
        let page = site.join(name);
        let html = fs::read_to_string(&page).map_err(|error| format!("can't read {name}: {error}"))?;
        write(&page, html.replacen("<head>", &head(POLICY), 1).as_bytes())?;
    }
    for (name, source, title) in PAGES {
        let text = fs::read_to_string(root().join(source)).map_err(|error| format!("can't read {source}: {error}"))?;
        let mut body = String::new();
        push_html(&mut body, Parser::new_ext(&text, Options::ENABLE_TABLES));
        // Tables may be wider than a phone, and whoever has no mouse can scroll what can be focused.
        let body = body
            .replace("<table>", "<div class=\"table\" tabindex=\"0\"><table>")
            .replace("</table>", "</table></div>");
        // The corner of a table heads nothing.
        let body = body.replace("<th></th>", "<td></td>");
        let body = linked(&body).replace("<pre>", "<pre tabindex=\"0\">");
        // Figures in a text are live.
        let is_live = body.contains("<grad-cam");
        let (besides, script) = if is_live { LIVE } else { ("", "") };
        let head = head(&format!("default-src 'none'; style-src 'self'; img-src 'self'{besides}"));
        let page = format!(
            "<!doctype html>\n<html lang=\"en\">\n{head}\n  \
             <meta name=\"color-scheme\" content=\"light dark\">\n  <title>{title} - gradcam-web</title>\n  \
             <link rel=\"icon\" href=\"../icon.svg\" type=\"image/svg+xml\">\n  \
             <link rel=\"stylesheet\" href=\"../style.css\">\n{script}</head>\n<body class=\"text\">\n  \
             <header class=\"top\"><p class=\"home\"><a href=\"../\"><img src=\"../icon.svg\" alt=\"\" width=\"28\" height=\"28\"> gradcam-web</a></p></header>\n  \
             <main>\n{body}</main>\n</body>\n</html>\n"
        );
        write(&site.join(format!("about/{name}.html")), page.as_bytes())?;
    }
    Ok(())
}

/// Links from one text to another lead to its page; those to what is no page become plain text.
fn linked(html: &str) -> String {
    let mut out = String::new();
    let mut rest = html;
    while let Some(start) = rest.find("<a href=\"") {
        let (before, link) = rest.split_at(start);
        out += before;
        rest = link;
        let Some((address, after)) = link["<a href=\"".len()..].split_once('"') else { break };
        let Some((words, after)) = after.strip_prefix('>').and_then(|after| after.split_once("</a>")) else { break };
        let file = address.split('#').next().unwrap_or_default().rsplit("../").next().unwrap_or_default();
        let page = PAGES.iter().find(|(_, source, _)| !file.is_empty() && source.ends_with(file));
        out += &match page {
            Some((name, ..)) => format!("<a href=\"{name}.html\">{words}</a>"),
            None if address.contains("://") || address.starts_with('#') => {
                format!("<a href=\"{address}\" rel=\"noreferrer\">{words}</a>")
            }
            None => words.to_owned(),
        };
        rest = after;
    }
    out + rest
}
