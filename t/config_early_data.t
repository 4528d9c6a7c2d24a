#!/usr/bin/perl

# Why: TLS early data can be sent once more by whoever has seen it pass, without
# any key, so with it no request would be its sender's own: not at the gate,
# not even where a grant is bound to a certificate, and not at the admin API.

use strict;
use warnings;

use Test::Lockbox;
use Test::Lockbox::Nginxt;
use Test::Lockbox::Tls;

my $EARLY = 'ssl_early_data on;';
my $LATE = 'ssl_early_data off;';
my $TLS = 'listen 127.0.0.1:%%PORT_8443%% ssl;';
my $ELSEWHERE = 'listen 127.0.0.1:%%PORT_8444%% ssl;';

my $t = Test::Lockbox->new;

Test::Lockbox::Tls::certificate($t, 'server');

my $HTTP = <<'EOF_HTTP';
ssl_certificate      %%TESTDIR%%/server.crt;
ssl_certificate_key  %%TESTDIR%%/server.key;
EOF_HTTP

for my $case (
    [ 'a gated location', qr{location "/gated/"}, locations => gate() ],
    [ 'a gated location that wants a certificate', qr{location "/gated/"},
      locations => gate(lockbox_bind_certificate => 'required'),
      server => 'ssl_verify_client optional_no_ca;' ],
    [ 'an admin location', qr{location "/lockbox/"}, locations => admin() ],
    [ 'a gated server', qr{all}, locations => '', server =>
      'lockbox on; lockbox_tenant acme; lockbox_service mail;' ],
    [ 'a location in another one', qr{location "/a/gated/"}, locations =>
      'location /a/ { ' . gate() =~ s{/gated/}{/a/gated/}r . ' }' ],
) {
    my ($name, $where, %parts) = @$case;

    my $server = $parts{server} // '';
    my $pattern = qr{"ssl_early_data[ ]on"[ ]of[ ]the[ ]server[ ]in[ ]
                     \S+/nginx-t\.conf:[1-9]\d*[ ]lets[ ]anybody[ ]replay[ ]
                     requests[ ]of[ ]the[ ]server[ ]in[ ]
                     \S+/nginx-t\.conf:[1-9]\d*,[ ]where[ ]$where[ ]is}x;

    # what the server has, what the http block has, the same of the twin
    for my $row (
        [ '', "$TLS $EARLY", '', "$TLS $LATE", '' ],
        [ ' by inheritance', $TLS, $EARLY, "$TLS $LATE", $EARLY ],
        [ ', and plain HTTP', $TLS, $EARLY, '', $EARLY ],
        [ ' by a server in front', "$TLS $LATE",
          "server { $TLS $EARLY server_name other; }", "$TLS $LATE",
          "server { $ELSEWHERE $EARLY server_name other; }" ],
        [ ' by a server in front, at one of two addresses',
          "$TLS $ELSEWHERE $LATE",
          "server { $ELSEWHERE $EARLY server_name other; }",
          "$TLS $ELSEWHERE $LATE",
          "server { $ELSEWHERE $LATE server_name other; }" ],
    ) {
        my ($how, $bad, $http, $good, $good_http) = @$row;

        # a certificate could not be shown without TLS
        $good = $TLS . $LATE if $good eq '' && $server =~ /ssl_verify/;

        rejected($t, "$name$how", $pattern,
                 { %parts, http => $HTTP . $http, server => "$server $bad" },
                 { %parts, http => $HTTP . $good_http,
                   server => "$server $good" });
    }
}

accepted($t, 'a server that has neither',
         { http => $HTTP, locations => 'location / { return 204; }',
           server => "$TLS $EARLY" });
accepted($t, 'a gate that is switched off',
         { http => $HTTP, locations => gate(lockbox => 'off'),
           server => "$TLS $EARLY" });

done_testing;
