//! What rules read of a question: fields of the context that no rule names
//! are not handed over.
//!
//! A rule in which each `context` stands right before the name of a field says
//! the same whatever the other fields hold. So it is the text of the rules
//! that decides, and no question; rules that use `context` in any other way
//! get all of it. Words alone are looked at, not what they mean: a rule may be
//! nested too deep to be walked.

use std::collections::BTreeSet;

/// The fields of the context that some rule reads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Reads {
    Everything,
    Fields(BTreeSet<String>),
}

impl Reads {
    /// Those that rules in these texts read, which Cedar has taken.
    pub(crate) fn of<'a>(texts: impl IntoIterator<Item = &'a str>) -> Reads {
        let fields = texts.into_iter().try_fold(BTreeSet::new(), |mut fields, text| {
            let mut words = Words { text };
            while let Some(word) = words.next() {
                if word == Word::Name("context") {
                    fields.insert(words.field()?.to_owned());
                }
            }
            Some(fields)
        });
        fields.map_or(Reads::Everything, Reads::Fields)
    }

    pub(crate) fn has(&self, field: &str) -> bool {
        match self {
            Reads::Everything => true,
            Reads::Fields(fields) => fields.contains(field),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Word<'a> {
    Name(&'a str),
    /// A text with its escapes, without its quotes.
    Text(&'a str),
    Sign(char),
}

/// Words of Cedar, without blanks and comments. A comment ends where a line
/// does, at either sign for it (Cedar's grammar).
struct Words<'a> {
    text: &'a str,
}

impl<'a> Words<'a> {
    /// What follows `context`, if it is the name of a field and nothing that is
    /// called: `.name`, `["name"]`, `has name` or `has "name"`.
    fn field(&mut self) -> Option<&'a str> {
        let field = match (self.next()?, self.next()?) {
            (Word::Sign('.'), Word::Name(field)) => field,
            (Word::Sign('['), Word::Text(field)) if self.next()? == Word::Sign(']') => field,
            (Word::Name("has"), Word::Name(field) | Word::Text(field)) => field,
            _ => return None,
        };
        let is_called = self.rest().starts_with('(');
        (!is_called && !field.contains('\\')).then_some(field)
    }

    /// What is left, from the next word on.
    fn rest(&mut self) -> &'a str {
        loop {
            self.text = self.text.trim_start();
            match self.text.strip_prefix("//") {
                Some(comment) => self.text = comment.find(['\n', '\r']).map_or("", |end| &comment[end..]),
                None => return self.text,
            }
        }
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = Word<'a>;

    fn next(&mut self) -> Option<Word<'a>> {
        let rest = self.rest();
        let first = rest.chars().next()?;
        let is_of_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        let (word, len) = match first {
            '"' => {
                let mut escaped = false;
                let end = rest[1..].find(|letter| {
                    let ends = letter == '"' && !escaped;
                    escaped = letter == '\\' && !escaped;
                    ends
                });
                let text = &rest[1..1 + end.unwrap_or(rest.len() - 1)];
                (Word::Text(text), (text.len() + 2).min(rest.len()))
            }
            _ if is_of_name(first) => {
                let len = rest.find(|letter| !is_of_name(letter)).unwrap_or(rest.len());
                (Word::Name(&rest[..len]), len)
            }
            sign => (Word::Sign(sign), sign.len_utf8()),
        };
        self.text = &rest[len..];
        Some(word)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn reads(condition: &str) -> Reads {
        let text = format!("permit (principal, action, resource) when {{ {condition} }};");
        text.parse::<cedar_policy::PolicySet>().unwrap();
        Reads::of([text.as_str()])
    }

    fn of<const N: usize>(fields: [&str; N]) -> Reads {
        Reads::Fields(fields.map(str::to_owned).into())
    }

    #[test]
    fn fields_are_found_wherever_they_stand() {
        assert_eq!(reads("principal == resource"), of([]));
        assert_eq!(reads("context.channel == \"stable\""), of(["channel"]));
        assert_eq!(reads("context[\"channel\"] == \"stable\""), of(["channel"]));
        assert_eq!(reads("context has previous && context.previous.epoch > 3"), of(["previous"]));
        assert_eq!(reads("context has \"previous\""), of(["previous"]));
        assert_eq!(reads("context // context == 1\n . // \"\r a == 1"), of(["a"]));
        let nested = "if [context.a].contains({ x: context.b.c }) then context.d like \"*\" else
                      decimal(context.e).lessThan(decimal(\"1.0\")) || !(context.f is Team)";
        assert_eq!(reads(nested), of(["a", "b", "d", "e", "f"]));
        assert_eq!(Reads::of(["permit(context.a)", "forbid(context.b)"]), of(["a", "b"]));
    }

    #[test]
    fn texts_and_comments_are_not_the_context() {
        assert_eq!(reads("\"context\" == \"\\\"context\\\\\" // context\n"), of([]));
        assert_eq!(reads("principal.contexts == 1 && principal.a_context == 2"), of([]));
        assert_eq!(reads("1 == 1 //\r && context.a == 1"), of(["a"]));
    }

    #[test]
    fn the_whole_context_is_everything() {
        for whole in [
            "context == { a: 1 }",
            "{ context: 1 } == { context: 2 }",
            "[context].contains({ a: 1 })",
            "(context).a == 1",
            "context.contains(1)",
            "context // a\n .contains // b\r (1)",
            "context[\"\\u{61}\"] == 1",
            "context.a == 1 && (if true then context else { a: 1 }) has a",
            "principal.context == 1",
        ] {
            assert_eq!(reads(whole), Reads::Everything, "{whole}");
        }
    }
}
