#!/usr/bin/perl

# Why: the tenant API believes what nginx tells it about who comes.  Nobody but
# nginx may say it, and no request may take it back.

use strict;
use warnings;

use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::Http2;
use Test::Lockbox::Refusal;

my $t = Test::Lockbox->new;

begin($t, server => <<'EOF_SERVER');
    listen 127.0.0.1:%%PORT_8443%% http2;
    proxy_set_header X-Lockbox-Engineer $lockbox_subject;
    proxy_set_header X-Lockbox-Tenant   $lockbox_tenant;
    proxy_set_header X-Lockbox-Request  $lockbox_request_id;
    proxy_set_header X-Lockbox-Decision $lockbox_decision;
    proxy_set_header X-Lockbox-Expires  $lockbox_expires;
EOF_SERVER

my $grant = $t->grant;
my $id = Lockbox::Jose::decode($grant)->{payload}{jti};
my %genuine = (engineer => 'erin', tenant => 'acme', request => $id,
               decision => 'allow');

# What is sent over one version, with or without the grant.
sub ask_over {
    my ($http, $given, @fields) = @_;

    push @fields, [ authorization => "Bearer $given" ] if defined $given;

    return $t->http('GET', $MAIL, headers => \@fields) if $http == 1;

    my $h2 = Test::Lockbox::Http2->new($t->port(8443));
    my $response = $h2->ask('GET', $MAIL, headers => [
        map { [ lc $_->[0], $_->[1] ] }
        grep { lc $_->[0] ne 'connection' } @fields ]);

    $h2->close;

    return $response;
}

# What such fields make of what the tenant API hears: nothing.
sub try_fields {
    my ($name, @fields) = @_;

    for my $http (1, 2) {
        my $response = ask_over($http, $grant, @fields);
        my $heard = $response->json->{headers};

        judged($response, 'allow', "$name, HTTP/$http");
        is_deeply({ map { $_ => $heard->{"x-lockbox-$_"} } keys %genuine },
                  \%genuine, "$name, HTTP/$http: nginx's own word");
        is($heard->{'x-lockbox-expires'}, $response->header('lockbox-expires'),
           "$name, HTTP/$http: and until when");
        is($heard->{authorization}, "Bearer $grant",
           "$name, HTTP/$http: and the token");
        is_deeply([ grep { /[^a-z-]/ } keys %$heard ], [],
                  "$name, HTTP/$http: no field with another mark");

        judged(ask_over($http, undef, @fields), 'no_token',
               "$name, HTTP/$http, without a grant");
    }
}

my @names = map { "X-Lockbox-$_" } qw(Engineer Tenant Request Decision
                                      Expires);

try_fields('no field');
try_fields('P36 X-Lockbox-Engineer', [ 'X-Lockbox-Engineer' => 'root' ]);
try_fields('P36 all of them', map { [ $_ => 'forged' ] } @names);
try_fields('P36 twice', map { [ $_ => 'forged' ], [ $_ => 'again' ] } @names);
try_fields('P36 in capitals', map { [ uc $_ => 'forged' ] } @names);
try_fields('P36 in small letters', map { [ lc $_ => 'forged' ] } @names);
try_fields('P36 with nothing in them', map { [ $_ => '' ] } @names);
try_fields('P36 as CGI spells them',
           map { [ $_ => 'forged' ] } map { tr/-/_/r } @names);
try_fields('P36 with other marks',
           map { [ $_ => 'forged' ] } map { (tr/-/./r, tr/-/~/r) } @names);

# A field that Connection names is not taken away; that is a thing of HTTP/1.1
try_fields("P37 Connection: $_", [ Connection => $_ ])
    for ('Authorization', 'close, Authorization',
         'close, X-Lockbox-Engineer, X-Lockbox-Tenant', 'keep-alive, Host',
         'authorization, authorization', join ', ', @names);
try_fields('P37 Connection: Authorization, and forged fields',
           [ Connection => 'Authorization, X-Lockbox-Engineer' ],
           map { [ $_ => 'forged' ] } @names);
try_fields("P37 $_: Authorization", [ $_ => 'Authorization' ])
    for qw(Proxy-Connection Keep-Alive TE Trailer);

all_arrivals_allowed();

done_testing;
