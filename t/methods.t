#!/usr/bin/perl

# Why: a method is a name that a grant has or has not.  What nginx takes for
# another method, what a header makes of it behind the gate, and what only asks
# what would be allowed, opens nothing.

use strict;
use warnings;

use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::Http2;
use Test::Lockbox::Refusal;

my $t = Test::Lockbox->new;

begin($t, server => 'listen 127.0.0.1:%%PORT_8443%% http2;',
      http => <<'EOF_HTTP');
    server {
        listen 127.0.0.1:%%PORT_8082%%;
        listen 127.0.0.1:%%PORT_8444%% http2;
        underscores_in_headers on;
        ignore_invalid_headers off;

        location / {
            lockbox          on;
            lockbox_tenant   acme;
            lockbox_service  mail;
            proxy_pass       http://127.0.0.1:%%PORT_8081%%;
        }
    }
EOF_HTTP

my $mail = '/tenants/acme/mail/x';
my $grant = grant('GET');

sub grant {
    return $t->grant(life => 3600, access => [ {
        service => 'mail', methods => [ @_ ],
        paths => [ '/tenants/acme/mail/' ],
    } ]);
}

# What is said to such a request in each version; what passes arrives as sent.
# Options: grant, headers (hash), liberal => 1 for the server that takes all
# names of fields, http for one version only.
sub try_method {
    my ($name, $said, $method, %options) = @_;

    my @ports = $options{liberal} ? (8082, 8444) : (8080, 8443);
    my @more = (headers => $options{headers} // {});

    push @more, token => $options{grant} if defined $options{grant};

    for my $http ($options{http} // (1, 2)) {
        my $h2 = Test::Lockbox::Http2->new($t->port($ports[1]));

        judged($http == 2 ? $h2->ask($method, $mail, @more)
                          : $t->http($method, $mail, port => $ports[0], @more),
               $said, sprintf '%.60s, HTTP/%d', $name, $http);
        $h2->close;
        is(($t->upstream_requests)[-1]{method}, $method, "$name: as sent")
            if $said eq 'allow';
    }
}


# Names

try_method("$_->[0] $_->[2]", $_->[1], $_->[2], grant => $grant) for (
    [ P21 => 400, 'get' ],
    [ P21 => 400, 'Get' ],
    [ P21 => 400, 'gET' ],
    [ P21 => 400, 'GEt' ],
    [ P21 => 400, 'GET1' ],
    [ P21 => 400, 'G.T' ],
    [ P21 => 'allow', 'GET' ],
    [ P22 => 'wrong_method', 'GETX' ],
    [ P22 => 'wrong_method', 'GE' ],
    [ P22 => 'wrong_method', 'G' ],
    [ P22 => 'wrong_method', 'XGET' ],
    [ P22 => 'wrong_method', 'GET-' ],
    [ P22 => 'wrong_method', 'GET_' ],
    [ P22 => 'wrong_method', 'GETGET' ],
    [ P22 => 'wrong_method', 'POST' ],
    [ P22 => 'wrong_method', 'PUT' ],
    [ P22 => 'wrong_method', 'PATCH' ],
    [ P22 => 'wrong_method', 'DELETE' ],
    [ P22 => 'wrong_method', 'PROPFIND' ],
    [ P22 => 'wrong_method', 'MKCOL' ],
    [ P22 => 'wrong_method', 'HEADX' ],
    [ P22 => 'wrong_method', 'QUERY' ],
    [ P22 => 'wrong_method', 'A' x 1000 ],
    [ P22 => 'allow', 'HEAD' ],
);

# nginx knows this one by its name and that one not; the gate knows both
try_method("P22 $_->[0] by a grant for $_->[1]", $_->[2], $_->[0],
           grant => grant($_->[1])) for (
    [ 'GETX', 'GETX', 'allow' ],
    [ 'GET', 'GETX', 'wrong_method' ],
    [ 'M-SEARCH', 'M-SEARCH', 'allow' ],
    [ 'M_SEARCH', 'M-SEARCH', 'wrong_method' ],
    [ 'DELETE', 'DELETE', 'allow' ],
);

# HEAD goes with GET alone; its refusals have no body
for my $other ('GETX', 'POST') {
    is($t->http('HEAD', $mail, token => grant($other))->status, 403,
       "P22 HEAD by a grant for $other");
    recorded([ 'wrong_method' ], "P22 HEAD by a grant for $other: on record");
    is(arrivals(), 0, "P22 HEAD by a grant for $other: nothing arrives");
}

try_method('P22 longer than nginx takes', 414, 'A' x 9000, grant => $grant,
           http => 1);


# Asking first is asking

try_method('P23 OPTIONS without a token', 'no_token', 'OPTIONS');
try_method('P23 OPTIONS with another grant', 'wrong_method', 'OPTIONS',
           grant => $grant);
try_method('P23 OPTIONS as browsers ask', 'no_token', 'OPTIONS', headers => {
    origin => 'https://evil.example', 'access-control-request-method' => 'GET',
    'access-control-request-headers' => 'authorization',
});
try_method('P23 OPTIONS with its grant', 'allow', 'OPTIONS',
           grant => grant('OPTIONS'));

judged($t->http_raw("OPTIONS * HTTP/1.1\r\nHost: localhost\r\n"
                    . "Connection: close\r\n\r\n"), 400, 'P23 OPTIONS *');
is($t->http('OPTIONS', $mail)->header('access-control-allow-origin'), undef,
   'P23 nobody is invited');
records();


# No grant can have these

for my $given (undef, $grant) {
    my $with = defined $given ? 'with a grant' : 'without';

    try_method("P24 CONNECT $with", '400|405', 'CONNECT', grant => $given);
    try_method("P24 TRACE $with", '405', 'TRACE', grant => $given);
}

for my $target ('localhost:443', 'http://localhost/', 'localhost') {
    judged($t->http_raw("CONNECT $target HTTP/1.1\r\nHost: localhost\r\n"
                        . "Authorization: Bearer $grant\r\n"
                        . "Connection: close\r\n\r\n"), '400|405',
           "P24 CONNECT $target");
}


# Fields that make another method or target of it behind the gate.  Many
# frameworks read names as CGI does, where all marks are one.

my @overriding = qw(X-HTTP-Method-Override X-HTTP-Method X-Method-Override
                    X-Original-Method X-Original-URL X-Original-URI
                    X-Rewrite-URL);

for my $name (@overriding) {
    my $cgi = $name =~ tr/-/_/r;

    try_method("P35 $name: DELETE", 'override_header', 'GET', grant => $grant,
               headers => { lc $name => 'DELETE' });
    try_method("P35 $name, which says nothing", 'override_header', 'GET',
               grant => $grant, headers => { lc $name => '' });
    try_method("P35 $cgi", 'override_header', 'GET', grant => $grant,
               liberal => 1, headers => { lc $cgi => 'DELETE' });
    try_method("P35 $cgi, which is not passed on", 'allow', 'GET',
               grant => $grant, headers => { lc $cgi => 'DELETE' });
    try_method("P35 $name in capitals", 'override_header', 'GET', http => 1,
               grant => $grant, headers => { uc $name => 'DELETE' });
}

is_deeply([ grep { /method|original|rewrite/ }
            map { keys %{ $_->{headers} } } $t->upstream_requests ], [],
          'P35 no such field ever arrives');

try_method("P35 $_, a field like others", 'allow', 'GET', grant => $grant,
           headers => { $_ => 'DELETE' })
    for qw(x-original-host x-method x-http-methods);
try_method('P35 X-HTTP.Method_Override', 'override_header', 'GET',
           grant => $grant, liberal => 1,
           headers => { 'x-http.method_override' => 'DELETE' });
try_method('P35 another liberal request', 'allow', 'GET', grant => $grant,
           liberal => 1, headers => { 'x_method' => 'DELETE' });

all_arrivals_allowed();

done_testing;
