//! A whole deployment: joins the layers' plans into one graph, applies, shows, destroys.
