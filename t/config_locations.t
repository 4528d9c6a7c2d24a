#!/usr/bin/perl

# Why: a location that is gated by half, or an admin API that nobody reaches,
# must show before it runs.

use strict;
use warnings;

use Test::Lockbox;
use Test::Lockbox::Nginxt;

my $t = Test::Lockbox->new;

%PARTS = (locations => gate());
accepted($t, 'the good configuration', {});

# A directive of the gated location with that value; the twin has another
# value.
sub in_gate {
    my ($name, $pattern, $bad, $good) = @_;

    rejected($t, "$name " . (ref $bad ? "@$bad" : $bad), $pattern,
             { locations => gate($name => $bad) },
             { locations => gate($name => $good) });
}


# The gated location

for my $name (qw(lockbox_tenant lockbox_service)) {
    for my $bad (qw($1 ${1} $9 x$1 $12 $arg_t ${arg_t} $ARG_t $cookie_t
                    ${cookie_t} $named-$2 $named$arg_t ${named}$arg_t
                    $http_x_tenant ${http_x_tenant} $HTTP_X_TENANT $http_cookie
                    $http_host x-$http_host-x $args ${args} $ARGS $query_string
                    $request $request_uri $request_body $content_type
                    $content_length))
    {
        rejected($t, "$name $bad",
                 qr/"$name" must not be made of.*: "\Q$bad\E"/,
                 captured($name => $bad), captured($name => '$named'));
    }

    # what is called like those, or almost, and is none of them
    for my $good (qw($host ${host} $server_name $https $request_method
                     $named-1 ${named}1 ${named}args $named-http_x
                     $argslike $httplike))
    {
        accepted($t, "$name $good",
                 { %{ captured($name => $good) },
                   http => 'map $host $argslike { default a; }'
                           . 'map $host $httplike { default a; }' });
    }
}

# A gated location with a named and a numbered capture.
sub captured {
    my (%directives) = @_;

    return { locations => gate(%directives)
                 =~ s{/gated/}{~ ^/(?<named>[a-z]+)/([a-z]+)/}r };
}

in_gate(@$_) for (
    [ 'lockbox', qr/invalid value "\$arg_on"/, '$arg_on', 'on' ],
    [ 'lockbox_tenant', qr{invalid "lockbox_tenant": "a/b"}, 'a/b', 'ab' ],
    [ 'lockbox_tenant', qr/invalid "lockbox_tenant": ""/, '""', 'a' ],
    [ 'lockbox_tenant', qr/invalid "lockbox_tenant": "\.\."/, '..', '...' ],
    [ 'lockbox_service', qr/invalid "lockbox_service": "Mail"/, 'Mail',
      'mail' ],
    [ 'lockbox_tenant', qr/unknown "nothing" variable/, '$nothing',
      '$remote_user' ],
    [ 'lockbox_label', qr/invalid value "Secret" in "lockbox_label"/,
      'a Secret', 'a secret' ],
    [ 'lockbox_label', qr/invalid value "" in "lockbox_label"/, '""', 'a' ],
    [ 'lockbox_label', qr/duplicate label "a"/, 'a b a', 'a b c' ],
    [ 'lockbox_label', qr/has too many labels/, "@{[ 1 .. 17 ]}",
      "@{[ 1 .. 16 ]}" ],
    [ 'lockbox_realm', qr/"lockbox_realm" must be plain ASCII.*: "a"b"/,
      q('a"b'), q('a b') ],
    [ 'lockbox_realm', qr/"lockbox_realm" must have 1 to 255 bytes/, '""',
      'a' ],
    [ 'lockbox_token', qr/unknown "nothing" variable/, '$nothing',
      '$http_x_token' ],
);

rejected($t, 'too many labels with those inherited',
         qr/more than 16 labels, with the inherited "z"/,
         { http => 'lockbox_label z;',
           locations => gate(lockbox_label => "@{[ 1 .. 16 ]}") },
         { http => 'lockbox_label 16;',
           locations => gate(lockbox_label => "@{[ 1 .. 16 ]}") });


# A tenant that is named must have somebody who can approve

my $pinned = <<'EOF_ISSUER';
lockbox_issuer https://acme.example {
    keys %%TESTDIR%%/customers.jwks.json;
    audience lockbox;
    role customer roles=approver;
    tenant acme;
}
EOF_ISSUER

rejected($t, 'a tenant without a customer',
         qr/can speak for the customer of the tenant "globex", gated in .*:\d+/,
         { issuers => $pinned, locations => gate(lockbox_tenant => 'globex') },
         { issuers => $pinned, locations => gate(lockbox_tenant => 'acme') });
accepted($t, 'a tenant that needs none', {
    issuers => $pinned, locations => gate(lockbox_tenant => 'globex'),
    directives => { lockbox_manager_only => 'globex' },
});


# The admin location

for my $case (
    [ qr/prefix location that ends with "\/", not "\^\/lockbox\/"/,
      '~ ^/lockbox/' ],
    [ qr/prefix location that ends with "\/", not "\/lockbox"/, '/lockbox' ],
    [ qr/prefix location that ends with "\/", not "\/lockbox\/"/,
      '= /lockbox/' ],
    [ qr/prefix location that ends with "\/", not "\@lockbox"/, '@lockbox' ],
) {
    my ($pattern, $location) = @$case;

    rejected($t, "the admin API in $location", $pattern,
             { locations => admin($location) },
             { locations => admin('^~ /lockbox/') });
}

rejected($t, 'the admin API for all', qr/"lockbox_admin" directive is not all/,
         { http => 'lockbox_admin on;' }, {});
rejected($t, 'the admin API behind the gate',
         qr/"lockbox_admin on" in the gated location "\/lockbox\/"/,
         { locations => gate(lockbox_admin => 'on') =~ s/gated/lockbox/r },
         { locations => gate(lockbox_admin => 'on', lockbox => 'off')
               =~ s/gated/lockbox/r });
rejected($t, 'the admin API in a server that is gated',
         qr/"lockbox_admin on" in the gated location/,
         { http => "lockbox on;\nlockbox_tenant a;\nlockbox_service b;",
           locations => admin() },
         { http => "lockbox on;\nlockbox_tenant a;\nlockbox_service b;",
           locations => admin(undef, lockbox => 'off') });
rejected($t, 'the gate in an if', qr/"lockbox" directive is not allowed here/,
         { locations => 'location / { if ($arg_a) { lockbox on; } }' }, {});


# Nothing twice

for my $case (
    [ lockbox => 'on', 'on' ], [ lockbox_tenant => 'a', 'b' ],
    [ lockbox_service => 'a', 'b' ], [ lockbox_label => 'a', 'b' ],
    [ lockbox_token => '$http_a', '$http_b' ], [ lockbox_realm => 'a', 'b' ],
) {
    my ($name, @values) = @$case;

    in_gate($name, qr/"$name" directive is duplicate/, \@values, $values[1]);
}

rejected($t, 'lockbox_admin twice', qr/"lockbox_admin" directive is duplicate/,
         { locations => admin(undef, lockbox_admin => [ 'on', 'on' ]) },
         { locations => admin() });

done_testing;
