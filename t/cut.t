#!/usr/bin/perl

# Why: a revocation that waits for the end of a download, or of a WebSocket, is
# none.  Whatever is under way ends with its grant, and in a way that nobody
# takes for the end of an answer; what other grants have let in goes on.

use strict;
use warnings;

use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::FakeRedis;
use Test::Lockbox::Http2;
use Test::Lockbox::Tls;

my $ACCESS = [ { service => 'mail', paths => ['/tenants/acme/mail/'],
                 methods => [ 'GET', 'POST', 'UPGRADE' ] } ];

# more than sockets hold
my $BIG = 16 * 1024 * 1024;

# Where answers begin, by how they would end.
my $GATED = <<'EOF_GATED';
lockbox             on;
lockbox_tenant      acme;
lockbox_service     mail;
add_header          X-Worker $pid;
proxy_http_version  1.1;
proxy_set_header    Upgrade $http_upgrade;
proxy_set_header    Connection $switching;
proxy_pass          http://127.0.0.1:%%PORT_8081%%;
EOF_GATED

my %CONF = (
    locations => <<"EOF_LOCATIONS",
location /tenants/acme/mail/ {
    $GATED
    proxy_buffering off;
}

location /tenants/acme/mail/buffered {
    $GATED
}

location /tenants/acme/mail/led {
    $GATED
    lockbox_token   \$http_x_grant;
}

location = /page.html {
    root %%TESTDIR%%;
    ssi on;
}

location = /plain {
    return 200 "plain\\n";
}

location /lockbox/ {
    lockbox_admin on;
}
EOF_LOCATIONS
    server => <<'EOF_SERVER',
listen 127.0.0.1:%%PORT_8443%% http2;
listen 127.0.0.1:%%PORT_8444%% ssl;
ssl_certificate     %%TESTDIR%%/server.crt;
ssl_certificate_key %%TESTDIR%%/server.key;
EOF_SERVER
    http => <<'EOF_HTTP',
map $http_upgrade $switching {
    default upgrade;
    ''      close;
}
EOF_HTTP
);

# What is under way: each is begun with a grant, and has begun when it returns
# what waits for the end and tells how it ended.
my %WAYS = (
    'with a length'    => sub { http1(http11('length', @_)) },
    'in chunks'        => sub { http1(http11('chunked', @_)) },
    'of no length'     => sub { http1(http11('unframed', @_)) },
    'to HTTP/1.0'      => sub { http1(http10('unframed', @_)) },
    'a body sent'      => sub { http1(half_a_body(@_)) },
    'P41 a WebSocket'  => sub { http1(websocket(@_)) },
    'a part of a page' => sub { http1(page(@_)) },
    'slowly read'      => \&slowly_read,
    'TLS'              => \&tls,
    'an HTTP/2 stream' => \&http2,
);

# How a grant ends: what is done about it, and the reason on record.  Life is
# that of the grant in seconds.
my %CAUSES = (
    'the customer revokes' =>
        [ revoked => sub { took('customer', 'revoke', $_[0]) } ],
    'the engineer hands back' =>
        [ completed => sub { took('engineer', 'complete', $_[0]) } ],
    'the live key is deleted' =>
        [ not_live => sub { redis('DEL', live_key($_[0])) } ],
    'all keys are deleted' => [ not_live => sub { redis('FLUSHALL') } ],
    'Redis is silent' => [ store_unavailable => sub { } ],
    'its window is over' => [ expired => sub { } ],
    'its window is over, but not for Redis' =>
        [ expired => sub { redis('PERSIST', live_key($_[0])) } ],
);

my $t = Test::Lockbox->new;

Test::Lockbox::Tls::certificate($t, 'server');
$t->write_file('page.html', 'a page with ' . page_part() . ' in it');

use_world($t);
$t->redis;
$t->upstream(handler => \&answer);
configure();
$t->run;

each_way($_) for sort keys %CAUSES;
others_go_on();
led_on();
at_every_worker();
by_another_nginx();
while_draining();

my $fake = Test::Lockbox::FakeRedis->new($t);

configure(directives => {
    lockbox_redis => 'unix:%%TESTDIR%%/fake.sock timeout=60s',
    lockbox_lease => '12s',
});
$t->reload;

back_in_time();
changed_while_asked('revoked');
changed_while_asked('live');

done_testing;


sub configure {
    my (%parts) = @_;

    $parts{directives}{lockbox_redis} //= redis_at($t);
    $t->write_conf($t->conf(%CONF, %parts));
}


# The tenant API: begins an answer, and ends when it is left, or told to

sub answer {
    my ($request, $client) = @_;

    my ($way, $name) = $request->{uri} =~ m{([^/?]+)(?:\?(\w+))?$};
    my %heads = (
        length   => "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbegun\n",
        chunked  => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                    . "6\r\nbegun\n\r\n",
        unframed => "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nbegun\n",
        switch   => "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket"
                    . "\r\nConnection: upgrade\r\n\r\nbegun\n",
        buffered => "HTTP/1.1 200 OK\r\nContent-Length: $BIG\r\n\r\nbegun\n"
                    . 'x' x ($BIG - 6),
    );

    return [ 200, { 'X-Accel-Redirect' => "/tenants/acme/mail/chunked?$name" },
             '' ] if $way eq 'led';

    syswrite $client, $heads{$way};
    Test::Lockbox::Process::poll(sub {
        return 1 if IO::Select->new($client)->can_read(0)
                    && !sysread $client, my $bytes, 1000;
        return defined $name && $t->has_file("go-$name");
    }, 3600);
    syswrite $client, "6\r\nended\n\r\n0\r\n\r\n" if $way eq 'chunked';
    Test::Lockbox::Upstream::append($t->testdir . '/ends.log', "$way\n");

    return;
}

# How many of its answers have ended.
sub ends {
    return $t->has_file('ends.log') ? $t->read_file('ends.log') =~ tr/\n//
                                    : 0;
}

sub page_part {
    return '<!--#include virtual="/tenants/acme/mail/unframed" -->';
}


# Clients

sub http11 {
    my ($way, $grant, $world) = @_;

    return ($world // $t)->http_start('GET', "/tenants/acme/mail/$way",
                                      token => $grant);
}

sub http10 {
    my ($way, $grant) = @_;

    my $client = $t->http_connect;

    $client->send("GET /tenants/acme/mail/$way HTTP/1.0\r\n"
                  . "Authorization: Bearer $grant\r\n\r\n");

    return $client;
}

# The request is answered before it has come to its end.
sub half_a_body {
    my ($grant) = @_;

    return $t->http_start('POST', '/tenants/acme/mail/length',
                          token => $grant, body => 'some',
                          headers => { 'Content-Length' => 4 });
}

sub websocket {
    my ($grant) = @_;

    return $t->http_start('GET', '/tenants/acme/mail/switch',
                          token => $grant,
                          headers => { Upgrade => 'websocket',
                                       Connection => 'upgrade' });
}

sub page {
    my ($grant) = @_;

    return $t->http_start('GET', '/page.html', token => $grant);
}

sub http1 {
    my ($client) = @_;

    defined $client->read_until(qr/begun\n/) or die "it does not begin\n";

    return sub {
        $client->read_all;
        return $client->was_reset ? 'reset' : 'closed';
    };
}

# Most of it is in nginx, and its tenant API is done.
sub slowly_read {
    my ($grant) = @_;

    my $client = http11('buffered', $grant);
    my $head = $client->head;

    return sub {
        my $body = $client->read_all;

        return length $body >= $BIG ? 'all of it'
             : $client->was_reset ? 'reset' : 'closed';
    };
}

# An end without an alert, and a reset below.
sub tls {
    my ($grant) = @_;

    my $tunnel = Test::Lockbox::Tls->new($t, $t->port(8444));
    my $client = Test::Lockbox::Http->new($tunnel->port);

    truncate $t->testdir . '/tls.out', 0;
    $client->request('GET', '/tenants/acme/mail/unframed', token => $grant);

    my $end = http1($client);

    return sub {
        $end->();
        undef $tunnel;

        my $said = $t->read_file('tls.out');

        return $said =~ /errno=104/ ? 'reset' : "closed: $said";
    };
}

sub http2 {
    my ($grant, $h2, $query) = @_;

    $h2 //= Test::Lockbox::Http2->new($t->port(8443));

    my $stream = $h2->request('GET', '/tenants/acme/mail/unframed'
                                     . ($query // ''), token => $grant);
    my $response = $h2->{streams}{$stream};

    $h2->read_frame until $response->body =~ /begun\n/;

    return sub {
        $h2->response($stream);
        is($h2->ask('GET', '/plain')->status, 200, 'the connection goes on');

        return $response->reset ? 'reset'
             : $response->complete ? 'complete' : 'closed';
    };
}


# A grant by the whole workflow, which may be revoked.
sub a_grant {
    my $id = approved(access => $ACCESS);

    return ($id, collect($id));
}

# The outcomes of so many requests of that grant.
sub outcomes {
    my ($id, $count) = @_;

    my @outcomes;

    $t->wait_for(sub {
        push @outcomes, grep {
            ($_->{'lockbox.request_id'} // '') eq $id
                && $_->{'event.action'} eq 'access'
                && $_->{'event.type'} eq 'end'
        } records();
        return @outcomes >= $count;
    }, undef, "$count outcomes");

    return @outcomes;
}

sub check_outcomes {
    my ($name, $reason, @outcomes) = @_;

    my %seen;

    for my $record (@outcomes) {
        $seen{ join ' ', map { $_ // 'none' }
               @$record{qw(event.outcome event.reason lockbox.cut)} }++;
    }

    is_deeply(\%seen, { "failure $reason true" => scalar @outcomes },
              "$name: on record");

    # of a part of a page nobody knows
    my @bytes = grep { defined } map { $_->{'http.response.bytes'} } @outcomes;

    is((grep { $_ <= 0 } @bytes), 0, '... with how much had gone');
}

sub each_way {
    my ($cause) = @_;

    my ($reason, $do) = @{ $CAUSES{$cause} };
    my @ways = sort keys %WAYS;
    my ($id, $grant);

    if ($reason eq 'expired') {
        $id = Test::Lockbox::Conf::uuid7();
        $grant = $t->grant(id => $id, access => $ACCESS, life => 5);
    } else {
        ($id, $grant) = a_grant();
    }

    records();

    my $before = ends();
    my %ends = map { $_ => $WAYS{$_}->($grant) } @ways;

    $t->{redis}->signal('STOP') if $cause eq 'Redis is silent';
    $do->($id);

    is($ends{$_}->(), 'reset', "$cause: $_") for @ways;

    $t->{redis}->signal('CONT') if $cause eq 'Redis is silent';
    $t->wait_for(sub { ends() == $before + @ways }, undef,
                 'the tenant API to be left');
    check_outcomes($cause, $reason, outcomes($id, scalar @ways));
    is($t->http('GET', '/plain')->status, 200, '... and nginx goes on');
}


# Those that nobody has revoked

sub others_go_on {
    my ($id, $grant) = a_grant();
    my $other = $t->grant(access => $ACCESS);
    my $h2 = Test::Lockbox::Http2->new($t->port(8443));

    my @others = map { http2($other, $h2, '?on') } 1 .. 2;
    my $cut = http2($grant, $h2);
    my $client = $t->http_start('GET', '/tenants/acme/mail/chunked?on',
                                token => $other);

    $client->head;
    took('customer', 'revoke', $id);
    is($cut->(), 'reset', 'one of some streams');
    records();

    $t->write_file('go-on', '');
    is($_->(), 'complete', '... the others go on') for @others;
    like($client->read_all, qr/begun.*ended\n\r\n0\r\n\r\n\z/s,
         '... and on other connections');
    ok(!$client->was_reset, '... to a good end');

    is_deeply([ map { "$_->{'event.reason'} " . ($_->{'lockbox.cut'} // '') }
                grep { $_->{'event.type'} eq 'end'
                       && $_->{'event.action'} eq 'access' } records() ],
              [ ('allow ') x 3 ], '... on record');
}


# The way from one gated place to another: what is under way is let through
# where it ends, and its record says that it was cut.
sub led_on {
    for my $case ([ 'there', 'revoked true' ], [ 'on the way', 'allow' ]) {
        my ($place, $end) = @$case;
        my ($id, $grant) = a_grant();
        my $other = $t->grant(access => $ACCESS);
        my ($way, $there) = $end eq 'allow' ? ($grant, $other)
                                            : ($other, $grant);

        my $client = $t->http_start(
            'GET', '/tenants/acme/mail/led?led', token => $there,
            headers => { 'X-Grant' => $way });

        defined $client->read_until(qr/begun\n/) or die "it does not begin\n";
        records();
        took('customer', 'revoke', $id);
        $t->write_file('go-led', '') if $end eq 'allow';

        is($client->read_all =~ /ended\n\r\n0\r\n\r\n\z/ ? 'all' : 'a part',
           $end eq 'allow' ? 'all' : 'a part',
           "led on, revoked $place: what goes out");
        is($client->was_reset ? 'reset' : 'closed',
           $end eq 'allow' ? 'closed' : 'reset', '... and its end');

        my @ends;

        $t->wait_for(sub {
            push @ends, grep { $_->{'event.action'} eq 'access' } records();
            return @ends >= 2;
        }, undef, 'both outcomes');

        is_deeply([ map { join ' ', grep { defined }
                          @$_{qw(url.path event.reason lockbox.cut)} } @ends ],
                  [ '/tenants/acme/mail/led allow',
                    "/tenants/acme/mail/chunked $end" ],
                  '... on record');
    }
}


# Elsewhere than where it was revoked

# Begins answers until there are some at that many workers.
sub spread {
    my ($world, $grant, $workers) = @_;

    my (%clients, @all);

    $world->wait_for(sub {
        my $client = http11('length', $grant, $world);
        my $worker = $client->head->header('x-worker');

        push @all, $client;
        $clients{$worker} //= $client;

        return keys %clients == $workers;
    }, undef, "answers of $workers workers");

    return @all;
}

sub all_reset {
    my ($name, @clients) = @_;

    $_->read_all for @clients;
    is((grep { !$_->was_reset } @clients), 0, $name);
}

sub at_every_worker {
    configure(workers => 2);
    $t->write_conf($t->read_file('nginx.conf')
                   =~ s/listen (127.0.0.1:\d+);/listen $1 reuseport;/r);
    $t->reload;

    my ($id, $grant) = a_grant();
    my @clients = spread($t, $grant, 2);

    took('customer', 'revoke', $id);
    all_reset('revoked at one worker, cut at each', @clients);
    check_outcomes('both', 'revoked', outcomes($id, scalar @clients));
}

sub by_another_nginx {
    my $other = Test::Lockbox->new;

    Test::Lockbox::Tls::certificate($other, 'server');
    # its tenant API is the same
    $other->{ports}{8081} = $t->{ports}{8081};
    $other->write_conf($other->conf(
        %CONF, directives => { lockbox_redis => redis_at($t) }));
    $other->run;

    my ($id, $grant) = a_grant();
    my @clients = spread($other, $grant, 1);

    took('customer', 'revoke', $id);
    all_reset('revoked at one nginx, cut at another', @clients);
    at($other, sub {
        check_outcomes('there', 'revoked', outcomes($id, scalar @clients));
    });
    $other->stop;
}

sub while_draining {
    my ($id, $grant) = a_grant();
    my @old = $t->workers;
    my @clients = spread($t, $grant, 2);

    $t->reload;
    is((grep { kill 0, $_ } @old), 2, 'workers that drain');
    took('customer', 'revoke', $id);
    all_reset('... cut what is under way', @clients);
    $t->wait_for(sub { !grep { kill 0, $_ } @old }, undef, 'them to go');
    check_outcomes('... and go', 'revoked', outcomes($id, scalar @clients));
}


# Redis says nothing for more than half a lease, and then all is well.
sub back_in_time {
    my $grant = $t->grant(access => $ACCESS);
    my $client = $t->http_start('GET', '/tenants/acme/mail/chunked?back',
                                token => $grant);

    $client->head;
    $fake->await(qr/^PING/);
    $fake->rules({ match => qr/^(?:PING|GETEX)/,
                   play => [ [ 'wait', 'back' ], [ 'reply' ] ] });
    $fake->forget;

    # on behalf of what is under way
    $fake->await(qr/^GETEX /);
    $fake->release('back');
    $fake->rules;
    $fake->forget;
    $fake->await(qr/^PING/, 3);

    $t->write_file('go-back', '');
    like($client->read_all, qr/begun.*ended\n\r\n0\r\n\r\n\z/s,
         'Redis is back in time, and nothing is cut');
}

# Redis is asked because of a change, and there is another one before it
# answers, but not in what it answers.
sub changed_while_asked {
    my ($state) = @_;

    my ($id, $grant) = a_grant();
    my $key = live_key($id);
    my $client = $t->http_start('GET', "/tenants/acme/mail/chunked?$state",
                                token => $grant);

    $client->head;
    $fake->rules(
        { match => qr/^GETEX .*$id/, times => 1,
          play => [ [ 'wait', $state ], "\$4\r\nlive\r\n" ] },
        { match => qr/^HGET .*$id/, times => 1,
          play => [ "\$8\r\napproved\r\n" ] });
    redis('SET', $key, 'live', 'KEEPTTL');
    $fake->await(qr/^GETEX .*$id/);
    $fake->forget;

    if ($state eq 'revoked') {
        redis('HSET', request_key($id), 'state', 'revoked');
        redis('DEL', $key);
    } else {
        redis('SET', $key, 'live', 'KEEPTTL');
    }

    $fake->await(qr/^MESSAGE .*$id/);
    $fake->told('watch');
    # behind the question, and no other one before it is answered
    $fake->await(qr/^DEL lockbox:heartbeat/);
    $fake->forget;
    $fake->release($state);
    $fake->await(qr/^GETEX .*$id/);

    my @asked = map { $_->[1] } $fake->seen(qr/^(?:GETEX|DEL) /);

    is($asked[0], 'GETEX',
       "$state while Redis is asked: it is asked again, at once");
    $fake->rules;
    $t->write_file("go-$state", '') if $state eq 'live';

    my $body = $client->read_all;

    if ($state eq 'revoked') {
        ok($client->was_reset, '... and cut');
        check_outcomes('... as that', 'revoked', outcomes($id, 1));
    } else {
        like($body, qr/begun.*ended\n\r\n0\r\n\r\n\z/s,
             '... and not cut');
    }
}
