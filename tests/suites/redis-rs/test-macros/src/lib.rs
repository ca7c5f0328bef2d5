//! What the tests of the `redis` crate ask of its unpublished macros: `#[async_test]` makes tests of asynchronous functions.
//!
//! - without parameters: the function, on the tests' runtime;
//! - with a parameter `impl …`: a server, and the function once with each kind of asynchronous connection;
//! - with a parameter `bool`: the function once with each value.

use proc_macro::TokenStream;
use quote::{format_ident, quote};
use syn::{FnArg, ItemFn, Type, parse_macro_input};

#[proc_macro_attribute]
pub fn async_test(_: TokenStream, item: TokenStream) -> TokenStream {
    let mut body = parse_macro_input!(item as ItemFn);
    let attributes = std::mem::take(&mut body.attrs);
    let name = std::mem::replace(&mut body.sig.ident, format_ident!("with"));
    let cases = match body.sig.inputs.first() {
        None => vec![("tokio", quote! { with().await })],
        Some(FnArg::Typed(parameter)) if matches!(*parameter.ty, Type::ImplTrait(_)) => vec![
            (
                "multiplexed_connection",
                quote! {
                    let context = TestContext::new();
                    with(context.async_connection().await.unwrap()).await
                },
            ),
            (
                "connection_manager",
                quote! {
                    let context = TestContext::new();
                    with(context.client.get_connection_manager().await.unwrap()).await
                },
            ),
        ],
        Some(_) => vec![("no", quote! { with(false).await }), ("yes", quote! { with(true).await })],
    };
    let tests = cases.into_iter().map(|(case, call)| {
        let case = format_ident!("{case}");
        quote! {
            #[test]
            fn #case() {
                block_on_all(async { #call; }, RuntimeType::Tokio)
            }
        }
    });
    quote! {
        #(#attributes)*
        mod #name {
            #[allow(unused_imports)]
            use super::*;
            #body
            #(#tests)*
        }
    }
    .into()
}
