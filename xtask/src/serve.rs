//! A small static server for this machine alone: WebGPU needs a secure context, and 127.0.0.1 is one.

use crate::shell::{Result, modified};
use std::{
    fs::File,
    io::{self, BufRead, BufReader, ErrorKind, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    thread,
    time::{Duration, UNIX_EPOCH},
};

/// Takes a port of 127.0.0.1.
pub fn listen(port: u16) -> Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => {
            format!("Port {port} is taken: another program listens there. Choose another with --port.")
        }
        _ => format!("Can't listen on 127.0.0.1:{port}: {error}"),
    })
}

/// Serves a folder until the program is stopped; prints the address.
pub fn serve(listener: TcpListener, folder: PathBuf) -> Result<()> {
    let address = listener.local_addr().map_err(|error| format!("the listener has no address: {error}"))?;
    println!("http://{address}/");
    for connection in listener.incoming().flatten() {
        let folder = folder.clone();
        // A browser that goes away in the middle is no concern of ours.
        thread::spawn(move || answer(connection, &folder).ok());
    }
    Ok(())
}

/// Answers one request and closes the connection.
fn answer(mut connection: TcpStream, folder: &Path) -> io::Result<()> {
    connection.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut reader = BufReader::new(connection.try_clone()?.take(64 * 1024));
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut known_tag = None;
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header)? == 0 || header.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = header.split_once(':')
            && name.eq_ignore_ascii_case("if-none-match")
        {
            known_tag = Some(value.trim().to_owned());
        }
    }

    let mut words = request.split_whitespace();
    let (method, address) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if method != "GET" && method != "HEAD" {
        return respond(&mut connection, "405 Method Not Allowed", "Allow: GET, HEAD\r\n", b"only GET and HEAD\n");
    }
    let Some(mut path) = path_from_address(address, folder) else {
        return respond(&mut connection, "400 Bad Request", "", b"not an address of this site\n");
    };
    if path.is_dir() {
        let (address, query) = address.split_once('?').map_or((address, String::new()), |(a, q)| (a, format!("?{q}")));
        if !address.ends_with('/') {
            // Otherwise the page's relative addresses would be off by one folder.
            let location = format!("Location: {address}/{query}\r\n");
            return respond(&mut connection, "301 Moved Permanently", &location, b"");
        }
        path.push("index.html");
    }
    let Ok(mut file) = File::open(&path) else {
        return respond(&mut connection, "404 Not Found", "", format!("{address} is not here\n").as_bytes());
    };

    let length = file.metadata()?.len();
    let age = modified(&path).and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    let tag = format!("\"{length:x}-{:x}\"", age.as_nanos());
    // Browsers may keep everything but ask each time: a new build shows at once, and an old one is not sent again.
    let caching = format!("Cache-Control: no-cache\r\nETag: {tag}\r\n");
    if known_tag.as_deref() == Some(&tag) {
        return write!(connection, "HTTP/1.1 304 Not Modified\r\n{caching}Connection: close\r\n\r\n");
    }
    write!(
        connection,
        "HTTP/1.1 200 OK\r\nContent-Type: {}\r\nContent-Length: {length}\r\n{caching}Connection: close\r\n\r\n",
        media_type(&path)
    )?;
    if method == "GET" {
        io::copy(&mut file, &mut connection)?;
    }
    connection.flush()
}

fn respond(connection: &mut TcpStream, status: &str, headers: &str, body: &[u8]) -> io::Result<()> {
    write!(
        connection,
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n{headers}Connection: close\r\n\r\n",
        body.len()
    )?;
    connection.write_all(body)
}

/// The file or folder that an address such as `/models/a%20b.onnx?x=1` stands for; `None` for what leads elsewhere.
fn path_from_address(address: &str, folder: &Path) -> Option<PathBuf> {
    let path = address.split(['?', '#']).next()?.strip_prefix('/')?;
    let mut decoded = Vec::new();
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?];
                u8::from_str_radix(str::from_utf8(&digits).ok()?, 16).ok()?
            }
            _ => byte,
        });
    }
    let decoded = String::from_utf8(decoded).ok()?;
    let parts = || decoded.split('/').filter(|part| !part.is_empty());
    let harmless = |part: &str| part != ".." && part != "." && !part.contains(['\\', ':', '\0']);
    parts().all(harmless).then(|| parts().fold(folder.to_owned(), |path, part| path.join(part)))
}

fn media_type(path: &Path) -> &'static str {
    match path.extension().and_then(|extension| extension.to_str()).unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "webmanifest" => "application/json",
        "wasm" => "application/wasm",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "gif" => "image/gif",
        "avif" => "image/avif",
        "svg" => "image/svg+xml",
        "ico" => "image/x-icon",
        "txt" | "md" | "ts" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(address: &str, expected: Option<&str>) {
        assert_eq!(path_from_address(address, Path::new("dist")), expected.map(PathBuf::from), "{address}");
    }

    #[test]
    fn addresses_lead_to_files_of_the_site() {
        check("/", Some("dist"));
        check("/gradcam-web/index.js?version=2", Some("dist/gradcam-web/index.js"));
        check("/a%20b/%C3%A9.png", Some("dist/a b/é.png"));
    }

    #[test]
    fn addresses_lead_nowhere_else() {
        check("/../Cargo.toml", None);
        check("/%2e%2e/Cargo.toml", None);
        check("/a/..%2f..%2fCargo.toml", None);
        check("//etc/passwd", Some("dist/etc/passwd"));
        check("/C:/secret", None);
        check("/%zz", None);
        check("http://elsewhere/", None);
    }
}
