# Pages are kept as the backend says; each answer has an id, as those of the others have.
vcl 4.1;

backend default {
    .path = "@BACKEND@";
}

sub vcl_deliver {
    set resp.http.X-Request-Id = req.xid;
}
