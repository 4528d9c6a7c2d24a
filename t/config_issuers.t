#!/usr/bin/perl

# Why: an identity provider asserts what its block says, so a block that says
# too much, too little or two things has to be refused.

use strict;
use warnings;

use Lockbox::Jose qw(jwks key);
use Test::Lockbox;
use Test::Lockbox::Nginxt;

my $t = Test::Lockbox->new;

# the issuers here may have no customers
%PARTS = (locations => gate(),
          directives => { lockbox_manager_only => 'acme' });

$t->write_file('vendor.json', jwks(key('P-256', 'vendor')));
$t->write_file('other.json', jwks(key('P-256', 'another')));

for my $case (
    [ qr/"https:\/\/issuer.example" has no "keys"/, [ keys => undef ] ],
    [ qr/has no "audience"/, [ audience => undef ] ],
    [ qr/has no "role"/, [ role => undef ] ],
    [ qr/unknown directive "secret" in "lockbox_issuer"/, [ secret => 'a' ] ],
    [ qr/invalid number of arguments in "role"/, [ role => 'engineer' ],
      [ role => 'engineer a=b' ] ],
    [ qr/invalid number of arguments in "audience"/, [ audience => 'a b' ],
      [ audience => 'a' ] ],
    [ qr/unknown role "admin"/, [ role => 'admin a=b' ] ],
    [ qr/unknown role "Manager"/, [ role => 'Manager a=b' ],
      [ role => 'manager a=b' ] ],
    [ qr/invalid role condition "a"/, [ role => 'manager a' ] ],
    [ qr/invalid role condition "a="/, [ role => 'manager a=' ] ],
    [ qr/invalid role condition "=b"/, [ role => 'manager =b' ] ],
    [ qr/"customer" beside one of the vendor's/,
      [ role => [ 'customer a=b', 'engineer a=c' ], tenant => 'acme' ],
      [ role => [ 'customer a=b', 'auditor a=c' ], tenant => 'acme' ] ],
    [ qr/"customer" beside one of the vendor's/,
      [ role => [ 'manager a=b', 'customer a=c' ], tenant => 'acme' ],
      [ role => [ 'manager a=b', 'engineer a=c' ], tenant => 'acme' ] ],
    [ qr/"customer", and neither "tenant" nor "tenant_claim"/,
      [ role => 'customer a=b' ],
      [ role => 'customer a=b', tenant_claim => '/a/b' ] ],
    [ qr/has both "tenant" and "tenant_claim"/,
      [ role => 'customer a=b', tenant_claim => 'a', tenant => 'acme' ] ],
    [ qr{invalid tenant "a/b"}, [ role => 'customer a=b', tenant => 'a/b' ],
      [ role => 'customer a=b', tenant => 'acme' ] ],
    [ qr/"tenant_claim" directive is empty/,
      [ role => 'customer a=b', tenant_claim => '""' ] ],
    [ qr/invalid audience ""/, [ audience => '""' ] ],
    [ qr/invalid time "61s" in "leeway"/, [ leeway => '61s' ],
      [ leeway => '60s' ] ],
    [ qr/invalid time "x" in "leeway"/, [ leeway => 'x' ] ],
    [ qr/invalid time "0" in "max_life"/, [ max_life => '0' ],
      [ max_life => '1s' ] ],
    [ qr/invalid time "8d" in "max_life"/, [ max_life => '8d' ],
      [ max_life => '7d' ] ],
    [ qr/invalid issuer ""/, [ iss => '""' ] ],
    map { [ qr/"$_->[0]" directive is duplicate/,
            [ $_->[0], [ ($_->[1]) x 2 ] ], [ @$_ ] ] }
        ([ keys => 'vendor.json' ], [ audience => 'a' ], [ tenant => 'acme' ],
         [ tenant_claim => 'a' ], [ leeway => '1s' ], [ max_life => '1h' ]),
) {
    my ($pattern, $members, $twin) = @$case;

    my $name = join ' ', 'issuer', map { ref ? "@$_" : $_ // 'missing' }
                                   @$members;

    rejected($t, $name, $pattern,
             { issuers => issuer(@$members) },
             { issuers => issuer(@{ $twin // [] }) });
}


my $second = issuer(iss => 'https://second.example', keys => 'other.json');

rejected($t, 'an issuer twice', qr/duplicate issuer "https:\/\/issuer.example"/,
         { issuers => issuer() . issuer(keys => 'other.json') },
         { issuers => issuer() . $second });

done_testing;
