#!/usr/bin/perl

# Why: a resource that nginx pushes over HTTP/2 was asked for by nobody, with
# no token.  What is gated must not be among them, whoever asks for the page.

use strict;
use warnings;

use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::Http2;

my $version = qx(@{[ Test::Lockbox::nginx_binary() ]} -v 2>&1);

plan(skip_all => 'this nginx pushes nothing')
    if $version =~ m{/1\.(\d+)} && $1 >= 25;

my $t = Test::Lockbox->new;
my $upstream = 'proxy_pass http://127.0.0.1:%%PORT_8081%%;';

$t->redis;
$t->upstream(handler => sub {
    my ($request) = @_;

    return [ 200, { Link => '</tenants/acme/mail/x>; rel=preload' },
             "the secret of $request->{uri}" ];
});
$t->write_conf($t->conf(server => 'listen 127.0.0.1:%%PORT_8443%% http2;',
                        locations => <<"EOF_LOCATIONS"));
location /tenants/acme/mail/ {
    lockbox          on;
    lockbox_tenant   acme;
    lockbox_service  mail;
    $upstream
}
location /tenants/acme/pushing/ {
    lockbox          on;
    lockbox_tenant   acme;
    lockbox_service  mail;
    http2_push       /tenants/acme/mail/x;
    proxy_hide_header Link;
    $upstream
}
location /configured/ {
    http2_push /tenants/acme/mail/x;
    proxy_hide_header Link;
    $upstream
}
location /preloaded/ { http2_push_preload on; $upstream }
location /free/ { http2_push /nothing; proxy_hide_header Link; $upstream }
location = /nothing { return 200 "free for all"; }
location /lockbox/ { lockbox_admin on; }
EOF_LOCATIONS
$t->run;
$Test::Lockbox::Admin::World = $t;

my $grant = $t->grant(access => [ {
    service => 'mail', methods => [ 'GET' ], paths => [ '/tenants/acme/' ],
} ]);
my $secret = '/tenants/acme/mail/x';

# The answer to a request, and those that were pushed with it.
sub asked {
    my ($uri) = @_;

    my $h2 = Pushed->new($t->port(8443));
    my $answer = $h2->ask('GET', $uri, token => $grant);

    # a promise comes before the page that it belongs to ends
    return $answer, map { $h2->response($_) } sort @{ $h2->{promised} // [] };
}

my ($page, $pushed, @more) = asked('/free/');

is($page->body, 'the secret of /free/', 'a page');
is($pushed && $pushed->body, 'free for all', 'what is not gated is pushed');
is(@more, 0, 'once');

for my $case ([ 'named in the configuration', '/configured/' ],
              [ 'named by the page', '/preloaded/' ],
              [ 'named by a gated page', '/tenants/acme/pushing/', 1 ])
{
    my ($name, $uri, $gated) = @$case;
    my $seen = $t->upstream_requests;

    records();
    ($page, $pushed, @more) = asked($uri);

    is($page->body, "the secret of $uri", "$name: the page");
    is(outcome($pushed), '401 no_token', "$name: what is pushed");
    is(@more, 0, "$name: once");
    is_deeply([ sort map { join ' ', grep { defined }
                           @$_{qw(event.type url.path event.reason)} }
                records() ],
              [ sort "end $secret no_token",
                $gated ? ("start $uri", "end $uri allow") : () ],
              "$name: on record");
    is(scalar $t->upstream_requests, $seen + 1,
       "$name: the tenant API saw the page alone");
}

is(outcome(Pushed->new($t->port(8443))->ask('GET', $secret,
                                            token => $grant)),
   '200 ok', 'asked for, it is there');

done_testing;


package Pushed;

# A client that takes what is promised (RFC 9113 section 8.4).

use strict;
use warnings;

use parent -norequire, 'Test::Lockbox::Http2';

use constant PUSH_PROMISE => 5;

sub read_frame {
    my ($self) = @_;

    my $head = $self->read_bytes(9);
    my ($length, $type) = length $head == 9 ? unpack 'NC', "\0$head" : ();

    if (!defined $type || $type != PUSH_PROMISE) {
        $self->{buffer} = $head . $self->{buffer};
        return $self->SUPER::read_frame;
    }

    my ($stream, $block) = unpack 'N a*', $self->read_bytes($length);

    # its fields are in the table of those to come
    $self->decoded($block);
    push @{ $self->{promised} }, $stream;
    $self->{streams}{$stream} = bless {
        headers => {}, body => '', complete => 0, done => 0,
    }, 'Test::Lockbox::Http2::Response';

    return 1;
}
