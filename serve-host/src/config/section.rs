//! The `section!` macro: one line per key becomes a field, its default and its entry in the table.

/// Declares one section of the configuration.
///
/// `name: Type = default;` with a doc comment as help; `, flag "x"` if the flag is not the path,
/// `, env "X"` for a second variable that is honoured under its own name.
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        pub struct $Section:ident at $path:literal {
            $(
                $(#[doc = $help:literal])+
                $key:ident: $kind:ty = $default:expr $(, flag $flag:literal)? $(, env $env:literal)?;
            )+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, PartialEq)]
        pub struct $Section {
            $( $(#[doc = $help])+ pub $key: $kind, )+
        }

        impl Default for $Section {
            fn default() -> Self {
                Self { $( $key: $default, )+ }
            }
        }

        impl $Section {
            fn each(&mut self, visit: &mut dyn FnMut(Key, &mut dyn Setting)) {
                $( visit(
                    Key {
                        section: $path,
                        name: stringify!($key),
                        help: concat!($($help),+),
                        own_flag: section!(@optional $($flag)?),
                        own_env: section!(@optional $($env)?),
                    },
                    &mut self.$key,
                ); )+
            }
        }
    };
    (@optional) => { None };
    (@optional $given:literal) => { Some($given) };
}

pub(super) use section;
