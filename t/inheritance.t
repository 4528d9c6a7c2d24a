#!/usr/bin/perl

# Why: a nested location that lost a setting of the one around it would be a
# hole.  What each location asks for shows in how it refuses a grant for
# something else.

use strict;
use warnings;

use Test::Lockbox;
use Test::Lockbox::Admin;

my $t = Test::Lockbox->new;
my $upstream = 'proxy_pass http://127.0.0.1:%%PORT_8081%%;';

begin($t, http => <<'EOF_HTTP', server => <<'EOF_SERVER',
    lockbox_realm  outer;
    lockbox_label  a b;
EOF_HTTP
    lockbox_token   $http_x_grant;
    lockbox_tenant  acme;
EOF_SERVER
    locations => <<"EOF_LOCATIONS");
location /mail/ {
    lockbox          on;
    lockbox_service  mail;
    lockbox_label    c;
    $upstream

    location /mail/same/ {
        $upstream
        location /mail/same/deeper/ { $upstream }
    }
    location /mail/label/ { lockbox_label d; $upstream }
    location /mail/again/ { lockbox_label a c; $upstream }
    location /mail/tenant/ { lockbox_tenant globex; $upstream }
    location /mail/service/ { lockbox_service files; $upstream }
    location /mail/realm/ { lockbox_realm inner; $upstream }
    location /mail/token/ { lockbox_token \$http_x_other; $upstream }
    location /mail/if/ {
        lockbox_label e;
        if (\$arg_if) { $upstream }
        $upstream
    }
    location /mail/except/ {
        lockbox_label f;
        limit_except POST { $upstream }
        $upstream
    }
    location /mail/off/ {
        lockbox off;
        $upstream
        location /mail/off/still/ { $upstream }
        location /mail/off/on/ { lockbox on; $upstream }
    }
    location ~ ^/mail/(?<one>[a-z]+)\.regex\$ {
        lockbox_tenant \$one;
        $upstream
    }
}
location /files/ { lockbox_service files; $upstream }
location /lockbox/ { lockbox_admin on; }
EOF_LOCATIONS

# nothing here is covered by it
my $grant = $t->grant(tenant => 'initech');

# What a location asks for: tenant, service, labels, realm.
sub asked {
    my ($uri, $header) = @_;

    my $response = $t->http('GET', $uri,
                            headers => { $header // 'X-Grant' => $grant });

    return $response->status if $response->status == 200;

    my $asked = $response->json->{asked}
        or return $response->json->{code};
    my ($realm) = $response->header('www-authenticate') =~ /realm="(.*?)"/;

    return join ' ', @$asked{qw(tenant service)},
                join('', sort @{ $asked->{labels} }), $realm;
}

for my $case (
    [ '/mail/x', 'acme mail abc outer' ],
    [ '/mail/same/x', 'acme mail abc outer' ],
    [ '/mail/same/deeper/x', 'acme mail abc outer' ],
    [ '/mail/label/x', 'acme mail abcd outer' ],
    [ '/mail/again/x', 'acme mail abc outer' ],
    [ '/mail/tenant/x', 'globex mail abc outer' ],
    [ '/mail/service/x', 'acme files abc outer' ],
    [ '/mail/realm/x', 'acme mail abc inner' ],
    [ '/mail/token/x', 'no_token' ],
    [ '/mail/token/x', 'acme mail abc outer', 'X-Other' ],
    [ '/mail/if/x', 'acme mail abce outer' ],
    [ '/mail/if/x?if=1', 'acme mail abce outer' ],
    [ '/mail/except/x', 'acme mail abcf outer' ],
    [ '/mail/off/x', 200 ],
    [ '/mail/off/still/x', 200 ],
    [ '/mail/off/on/x', 'acme mail abc outer' ],
    [ '/mail/named.regex', 'named mail abc outer' ],
    [ '/files/x', 200 ],
) {
    my ($uri, $want, $header) = @$case;

    is(asked($uri, $header), $want, "$uri asks for $want");
}

# A grant must name all labels, those inherited too.
for my $case ([ 'all', 200, qw(a b c d) ],
              [ 'without its own', 403, qw(a b c) ],
              [ 'without one inherited', 403, qw(a c d) ],
              [ 'without one from far away', 403, qw(b c d) ])
{
    my ($name, $status, @labels) = @$case;
    my $token = $t->grant(access => [ {
        service => 'mail', methods => [ 'GET' ], paths => [ '/mail/' ],
        labels => \@labels,
    } ]);

    is($t->http('GET', '/mail/label/x', headers => { 'X-Grant' => $token })
         ->status, $status, "labels: $name");
}

done_testing;
