#!/usr/bin/perl

# Why: a "map" with a capture of the same name sets the operator's $tenant anew,
# by what the client sends, when the gate has judged.  What the tenant API is
# told must be what was judged.

use strict;
use warnings;

use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::Nginxt;
use Test::Lockbox::Refusal;

my $t = Test::Lockbox->new;

# A "map" of a field of the client's, with that capture.
sub map_of {
    my ($field, $variable, $capture) = @_;

    return <<"EOF_MAP";
map \$http_$field \$$variable {
    default  elsewhere;
    "~^https://(?<$capture>[a-z]+)\\.example/"  portal;
}
EOF_MAP
}

begin($t, http => map_of(qw(referer from tenant)) . map_of(qw(x_by by service)),
    locations => <<'EOF_LOCATIONS');
location ~ ^/tenants/(?<tenant>[^/]+)/(?<service>[^/]+)/ {
    lockbox           on;
    lockbox_tenant    $tenant;
    lockbox_service   $service;
    proxy_set_header  X-From            "$from $by";
    proxy_set_header  X-Captured        "$tenant $service";
    proxy_set_header  X-Lockbox-Tenant  $lockbox_tenant;
    proxy_set_header  X-Lockbox-Service $lockbox_service;
    proxy_pass        http://127.0.0.1:%%PORT_8081%%;
}
location /lockbox/ { lockbox_admin on; }
EOF_LOCATIONS

my $grant = $t->grant(access => [ {
    service => 'mail', methods => [ 'GET' ], paths => [ '/' ] } ]);

for my $case (
    [ 'no capture', {}, 'elsewhere elsewhere', 'acme mail' ],
    [ 'a capture of the tenant', { Referer => 'https://globex.example/' },
      'portal elsewhere', 'globex mail' ],
    [ 'a capture of the service', { 'X-By' => 'https://files.example/' },
      'elsewhere portal', 'acme files' ],
) {
    my ($name, $headers, $from, $captured) = @$case;
    my $got = $t->http('GET', '/tenants/acme/mail/x', token => $grant,
                       headers => $headers);

    let_through($got, $name);

    my $told = $got->json->{headers};

    is($told->{'x-from'}, $from, "$name: what it matches");
    is($told->{'x-captured'}, $captured, "$name: what has become of it");
    is("@$told{qw(x-lockbox-tenant x-lockbox-service)}", 'acme mail',
       "$name: what the tenant API is told is what was judged");

    my ($end) = grep { $_->{'event.type'} eq 'end'
                       || $_->{'event.type'} eq 'access' } reverse records();

    is($end->{'organization.id'}, 'acme', "$name: and what is on record");
}

refused($t->http('GET', '/tenants/globex/mail/x', token => $grant,
                 headers => { Referer => 'https://acme.example/' }),
        'wrong_tenant', 'it opens no other tenant',
        qw(asked granted request));

for my $name (qw(lockbox_tenant lockbox_service)) {
    rejected($t, "a capture that is called $name",
             qr/the duplicate "$name" variable/,
             { http => map_of('referer', 'from', $name) },
             { http => map_of(qw(referer from named)) });
}

done_testing;
