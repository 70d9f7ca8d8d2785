//! What repeats the table of methods, against the table.

use gradcam_web::cam::Method;

use crate::fixtures::root;

/// The lists that people and JavaScript read can't be computed where they are read.
#[track_caller]
fn check(file: &str, expected: &str) {
    let text = std::fs::read_to_string(root().join(file)).unwrap();
    assert!(text.contains(expected), "{file} does not have the methods as they are now:\n{expected}");
}

#[test]
fn javascript_lists_the_methods_that_there_are() {
    let mut list = String::from("export const METHODS = Object.freeze([\n");
    for method in Method::ALL {
        let fields = [
            ("name", method.name()),
            ("title", method.title()),
            ("paper", method.paper()),
            ("summary", method.summary()),
            ("forwardPasses", method.forward_passes()),
        ];
        list += "  Object.freeze({\n";
        for (field, text) in fields {
            list += &format!("    {field}: {text:?},\n");
        }
        list += "  }),\n";
    }
    check("pkg/tables.js", &(list + "]);\n"));
}

#[test]
fn the_readme_lists_the_methods_that_there_are() {
    let mut table = String::from("| method | passes | what it does |\n| --- | --- | --- |\n");
    for method in Method::ALL {
        let (name, title, paper) = (method.name(), method.title(), method.paper());
        table += &format!("| [{title}]({paper}) `{name}` | {} | {} |\n", method.forward_passes(), method.summary());
    }
    check("README.md", &table);
}
