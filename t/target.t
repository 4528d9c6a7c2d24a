#!/usr/bin/perl

# Why: a target that nginx and the tenant API read differently is a way from
# one tenant to the next.  What passes has one reading, and arrives as sent.
# The whole server is gated here, and the grant covers one prefix, so that
# nothing but the gate keeps anything out.

use strict;
use warnings;

use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::Http2;
use Test::Lockbox::Refusal;

my $t = Test::Lockbox->new;

begin($t, server => 'listen 127.0.0.1:%%PORT_8443%% http2;',
      locations => <<'EOF_LOCATIONS');
location / {
    lockbox          on;
    lockbox_tenant   acme;
    lockbox_service  api;
    proxy_pass       http://127.0.0.1:%%PORT_8081%%;
}
location = /lockbox/v1/jwks.json { rewrite ^/lockbox/(.*) /admin/$1 last; }
location /admin/ { lockbox_admin on; }
EOF_LOCATIONS

my $base = '/v1/tenants/acme';
my $grant = $t->grant(life => 3600, access => [ {
    service => 'api', methods => [ 'GET' ], paths => [ "$base/" ] } ]);
my $h2;

# Sends the target as it is.
sub over_http1 {
    my ($target) = @_;

    return $t->http_raw("GET $target HTTP/1.1\r\nHost: localhost\r\n"
                        . "Authorization: Bearer $grant\r\n"
                        . "Connection: close\r\n\r\n");
}

sub over_http2 {
    my ($target) = @_;

    $h2 //= Test::Lockbox::Http2->new($t->port(8443));

    return $h2->ask('GET', $target, token => $grant);
}

# nginx ends a connection over some targets.
sub another_connection {
    $h2->close if $h2;
    undef $h2;
}

my %OVER = (1 => \&over_http1, 2 => \&over_http2);

# What is said to the target, a word or nginx's own status; if there is a pair,
# HTTP/2 is said the second one, and undef leaves one version out.
sub try_target {
    my ($name, $said, $target, $arrives) = @_;

    my @said = ref $said ? @$said : ($said) x 2;
    my $shown = $target =~ s/([^ -~])/sprintf '\\x%02x', ord $1/ger;

    for my $http (1, 2) {
        my $word = $said[$http - 1] // next;
        my $response = $OVER{$http}->($target);

        judged($response, $word, sprintf '%s%.60s, HTTP/%d', $name, $shown,
               $http);
        another_connection() if $word =~ /^\d/;
        is($response->json->{uri}, $arrives // $target, "$name: as sent")
            if $word eq 'allow';
    }
}


# The published rows, each with what it would be without its trick

for my $case (
    [ P01 => 'wrong_path', $base, "$base/" ],
    [ P02 => 'ambiguous_target', "$base/../evil/x", "$base/evil/x" ],
    [ P03 => 'ambiguous_target', "$base/%2e%2e/evil/x", "$base/evil/x" ],
    [ P03 => 'ambiguous_target', "$base/%2E%2E/evil/x", "$base/EE/evil/x" ],
    [ P03 => 'ambiguous_target', "$base/.%2e/evil/x", "$base/.e/evil/x" ],
    [ P04 => 'ambiguous_target', '/v1/tenants/evil/..%2facme/x', "$base/x" ],
    [ P04 => 'ambiguous_target', '/v1/tenants/evil/..%2Facme/x', "$base/x" ],
    [ P05 => 'ambiguous_target', '/v1/tenants%2facme/orders',
      "$base/orders" ],
    [ P05 => 'ambiguous_target', '/v1/tenants%2Facme/orders',
      "$base/orders" ],
    [ P06 => 'ambiguous_target', "$base/a%2fb", "$base/a/b" ],
    [ P06 => 'ambiguous_target', "$base%2fa", "$base/a" ],
    [ P07 => 'ambiguous_target', "$base/..%5cevil/x", "$base/..evil/x" ],
    [ P07 => 'ambiguous_target', "$base/..%5Cevil/x", "$base/..evil/x" ],
    [ P07 => 'ambiguous_target', "$base/..\\evil/x", "$base/..evil/x" ],
    [ P08 => 'ambiguous_target', "$base/%252e%252e/evil/x",
      "$base/2e2e/evil/x" ],
    [ P08 => 'ambiguous_target', "$base/a%252fb", "$base/a2fb" ],
    [ P08 => 'ambiguous_target', "$base/%25", "$base/25" ],
    [ P09 => 400, "$base/%%32%65%%32%65/evil/x", "$base/3265/evil/x" ],
    [ P10 => 400, "$base/%", "$base/" ],
    [ P10 => 400, "$base/%2", "$base/2" ],
    [ P10 => 400, "$base/%zz", "$base/zz" ],
    [ P10 => 400, "$base/%u002e", "$base/u002e" ],
    [ P11 => 400, "$base/x%00.json", "$base/x.json" ],
    [ P11 => 400, "$base/x%00", "$base/x" ],
    [ P11 => [ 400, 0 ], "$base/x\0.json", "$base/x.json" ],
    [ P12 => 'ambiguous_target', "$base/x%0d%0aX-Evil:%201y",
      "$base/xX-Evil:%201y" ],
    [ P12 => 'ambiguous_target', "$base/x%0ay", "$base/xy" ],
    [ P12 => 'ambiguous_target', "$base/x%09y", "$base/x%20y" ],
    [ P12 => 'ambiguous_target', "$base/x%1b", "$base/x" ],
    [ P12 => 'ambiguous_target', "$base/x%7f", "$base/x" ],
    [ P13 => 'ambiguous_target', "/$base/x", "$base/x" ],
    [ P13 => 'ambiguous_target', '/v1//tenants/acme/x', "$base/x" ],
    [ P13 => 'ambiguous_target', "$base//x", "$base/x" ],
    [ P13 => 'ambiguous_target', "$base/x//", "$base/x/" ],
    [ P14 => 'ambiguous_target', "$base/..;/evil/x", "$base/..a/evil/x" ],
    [ P14 => 'ambiguous_target', "$base/..;a=b/evil/x", "$base/..a/evil/x" ],
    [ P14 => 'ambiguous_target', "$base/..%3b/evil/x", "$base/..3b/evil/x" ],
    [ P15 => 'ambiguous_target', "$base;x=1/orders", "$base/x=1/orders" ],
    [ P15 => 'ambiguous_target', "$base/x;y=1", "$base/x,y=1" ],
    [ P15 => 'ambiguous_target', "$base/x%3By", "$base/x3By" ],
    [ P16 => 'ambiguous_target', "$base/#/../../evil", "$base/evil" ],
    [ P16 => 'ambiguous_target', "$base/x#y", "$base/xy" ],
    [ P16 => 'ambiguous_target', "$base/%23", "$base/23" ],
    [ P18 => 400, "http://user:pw\@localhost$base/x", "$base/x" ],
    [ P18 => 400, "http://user\@localhost$base/x", "$base/x" ],
    [ P19 => 'ambiguous_target', "$base/%ef%bc%8f..%ef%bc%8fevil",
      "$base/%e2%82%ac..%e2%82%acevil" ],
    [ P19 => 'ambiguous_target', "$base/%EF%BC%8E%EF%BC%8E/evil",
      "$base/%E2%82%AC%E2%82%AC/evil" ],
    [ P20 => 'ambiguous_target', "/lockbox/..$base/x", "$base/x" ],
    [ P20 => 'ambiguous_target', "/admin/..$base/x", "$base/x" ],
) {
    my ($id, $said, $target, $plain) = @$case;

    try_target("$id ", $said, $target);
    try_target("$id without it ", 'allow', $plain);
}

# In absolute form, which is for HTTP/1.1 only, the host is the request's
try_target('P17 ', [ 'ambiguous_target', 400 ], "http://evil.example$base/x");
try_target('P17 ', [ 'allow', 400 ], "http://localhost$base/x", "$base/x");
try_target('P17 ', [ 'ambiguous_target', 400 ], "http://localhost$base/../x");
try_target('P17 ', [ 'ambiguous_target', 400 ], "http://localhost/$base/x");


# More of each kind

try_target('', @$_) for (
    # dot segments, and dots that are none
    [ ambiguous_target => "$base/./x" ],
    [ ambiguous_target => "$base/." ],
    [ ambiguous_target => "$base/.." ],
    [ ambiguous_target => "$base/x/.." ],
    [ ambiguous_target => "$base/x/../y" ],
    [ ambiguous_target => "/.$base/x" ],
    [ ambiguous_target => "$base/%2E" ],
    [ ambiguous_target => "$base/%2e/x" ],
    [ ambiguous_target => "$base/%2e./x" ],
    [ ambiguous_target => "$base/x%2ey" ],
    [ ambiguous_target => "$base/..%2f..%2f" ],
    [ allow => "$base/..." ],
    [ allow => "$base/.../x" ],
    [ allow => "$base/a..b" ],
    [ allow => "$base/a." ],
    [ allow => "$base/a../x" ],
    [ allow => "$base/.x" ],
    [ allow => "$base/a%20" ],
    [ allow => "$base/%20/x" ],
    [ allow => "$base/..%20/x" ],

    # what would be a dot, a slash or a backslash to some
    [ ambiguous_target => "$base/%c0%ae%c0%ae/x" ],
    [ ambiguous_target => "$base/%c0%af" ],
    [ ambiguous_target => "$base/%e0%80%ae" ],
    [ ambiguous_target => "$base/%f0%80%80%af" ],
    [ ambiguous_target => "$base/%c1%9c" ],
    [ ambiguous_target => "$base/%ef%bc%8e" ],
    [ ambiguous_target => "$base/%ef%bc%bc" ],
    [ ambiguous_target => "$base/%ef%b9%92" ],
    [ ambiguous_target => "$base/%e2%80%a4" ],
    [ ambiguous_target => "$base/%e2%80%a5/x" ],
    [ ambiguous_target => "$base/%e2%80%a6" ],
    [ ambiguous_target => "$base/%e2%84%80" ],
    [ ambiguous_target => "$base/x%ef%bc%9by" ],
    [ ambiguous_target => "$base/x%ef%bc%83y" ],
    [ ambiguous_target => "$base/x%ef%bc%9fy" ],
    [ ambiguous_target => "$base/x%ef%bc%852e" ],

    # these look like a slash, and no normalisation makes one of them
    [ allow => "$base/%e2%88%95" ],
    [ allow => "$base/%e2%81%84" ],
    [ allow => "$base/%e2%88%96" ],

    # other spellings of what could be written plainly
    [ ambiguous_target => '/v1/tenants/%61cme/x' ],
    [ ambiguous_target => '/v1/tenants/ac%6de/x' ],
    [ ambiguous_target => '/%76%31/tenants/acme/x' ],
    [ ambiguous_target => "$base/%41" ],
    [ ambiguous_target => "$base/%2d" ],
    [ ambiguous_target => "$base/%5f" ],
    [ ambiguous_target => "$base/%7E" ],
    [ ambiguous_target => "$base/%30" ],
    [ ambiguous_target => "$base/x%3fy" ],
    [ allow => "$base/~-_.09azAZ" ],
    [ allow => "$base/%21%24%26%27%28%29%2a%2b%2c%3a%3d%40" ],
    [ allow => "$base/!\$&'()*+,:=\@" ],
    [ allow => "$base/%22%3c%3e%5b%5d%5e%60%7b%7c%7d" ],

    # bytes and what is no UTF-8
    [ ambiguous_target => "$base/\xe2\x82\xac" ],
    [ ambiguous_target => "$base/\x80" ],
    [ ambiguous_target => "$base/\xff" ],
    [ ambiguous_target => "$base/%80" ],
    [ ambiguous_target => "$base/%ff" ],
    [ ambiguous_target => "$base/%e2%82" ],
    [ ambiguous_target => "$base/%e4" ],
    [ ambiguous_target => "$base/%ed%a0%80" ],
    [ ambiguous_target => "$base/%f4%90%80%80" ],
    [ ambiguous_target => "$base/%c2%85" ],
    [ 400 => "$base/x\x01" ],
    [ 400 => "$base/x\x7f" ],
    [ 400 => "$base/x\ty" ],
    [ 400 => "$base/x y" ],
    [ allow => "$base/%E2%82%AC" ],
    [ allow => "$base/%e2%82%ac" ],
    [ allow => "$base/%e2%82%AC" ],
    [ allow => "$base/%f0%9f%98%80" ],

    # other prefixes
    [ wrong_path => '/' ],
    [ wrong_path => '/v1/tenants/' ],
    [ wrong_path => '/v1/tenants/acm' ],
    [ wrong_path => '/v1/tenants/acmex/x' ],
    [ wrong_path => '/v1/tenants/acme.evil/x' ],
    [ wrong_path => '/v1/tenants/acme%20/x' ],
    [ wrong_path => '/v1/tenants/Acme/x' ],
    [ wrong_path => '/V1/tenants/acme/x' ],
    [ wrong_path => '/v1/tenants/evil/acme/x' ],
    [ wrong_path => '/v1/tenants/evil?/v1/tenants/acme/x' ],
    [ wrong_path => '/v1/tenants/evil?x=..%2facme/x' ],
    [ wrong_path => "/evil$base/x" ],

    # the query is data
    [ allow => "$base/x?a=/../%2f;" ],
    [ allow => "$base/x?x=%2f..%2f..%2fevil" ],
    [ allow => "$base/x?a=%00%0d%0a%25%zz%" ],
    [ allow => "$base/x?a=b?c=d//e\\f" ],
    [ allow => "$base/x?a=\xe2\x82\xac" ],
    [ allow => "$base/x?" ],
    [ allow => "$base/?" ],
    [ allow => "$base/x??" ],
    [ allow => "$base/x?method=DELETE&_method=DELETE" ],
    [ wrong_path => "$base?x" ],
    [ wrong_path => "$base?/x" ],

    # no path at all
    [ 400 => '' ],
    [ 400 => '*' ],
    [ 400 => '?x' ],
    [ 400 => 'v1/tenants/acme/x' ],
    [ 400 => '%2fv1/tenants/acme/x' ],
    [ 400 => '\\v1\\tenants\\acme\\x' ],
    [ 400 => 'javascript:alert(1)' ],

    # how long
    [ allow => "$base/" . 'x' x (1023 - length $base) ],
    [ ambiguous_target => "$base/" . 'x' x (1024 - length $base) ],
    [ allow => "$base/" . '%20' x (1023 - length $base) ],
    [ ambiguous_target => "$base/" . '%20' x (1024 - length $base) ],
    [ allow => "$base/x?" . 'x' x 6000 ],
    [ [ 414, undef ] => "$base/" . 'x' x 9000 ],
    [ [ 414, undef ] => "$base/x?" . 'x' x 9000 ],
);

another_connection();
all_arrivals_allowed();

done_testing;
