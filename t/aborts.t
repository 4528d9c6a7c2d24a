#!/usr/bin/perl

# Why: a client may leave whenever it likes, and Redis answers all the same.
# The answer must then be nobody's, what was sent must still be on record, and
# the worker must hold nothing afterwards.  And those who stay, however slowly
# or closely they send, are each judged by what they have sent themselves.

use strict;
use warnings;

use Socket qw(SOL_SOCKET SO_LINGER IPPROTO_TCP TCP_NODELAY);

use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::FakeRedis qw(halted);
use Test::Lockbox::Http2;
use Test::Lockbox::Vitals qw(descriptors);

my $CROWD = 40;

my $APPROVE = qr/^EVALSHA \S+ 0 approve /;
my $SHOW = qr/^EVALSHA \S+ 0 show /;
my $POLICY = qr/^EVALSHA \S+ 0 policy /;

# How clients leave: each makes so many requests and returns what lets them go.
my %WAYS = (
    'HTTP/1, closed' => sub {
        my @clients = crowd(@_);
        return sub { $_->close for @clients };
    },
    'HTTP/1, reset' => sub {
        my @clients = crowd(@_);
        return sub { reset_connection($_) for @clients };
    },
    'HTTP/2, streams reset' => sub {
        my ($h2, @streams) = streams(@_);
        return sub {
            $h2->cancel($_) for @streams;
            $h2->sync;
            is($h2->ask('GET', '/plain')->status, 200,
               'the connection goes on');
        };
    },
    'HTTP/2, closed' => sub {
        my ($h2) = streams(@_);
        return sub { $h2->close };
    },
    'HTTP/2, reset' => sub {
        my ($h2) = streams(@_);
        return sub { reset_connection($h2) };
    },
    'HTTP/2, GOAWAY' => sub {
        my ($h2) = streams(@_);
        return sub { $h2->goaway; $h2->close };
    },
);

my $t = Test::Lockbox->new;
my $fake = Test::Lockbox::FakeRedis->new($t, lease => 0);

$t->write_file('page.html', join "\n", map {
    qq(<!--#include virtual="/tenants/acme/mail/$_" -->)
} 1 .. 3);

my %conf = (
    server => <<'EOF_SERVER',
listen 127.0.0.1:%%PORT_8443%% http2;
keepalive_requests 100000;
proxy_set_header X-Lockbox-Subject $lockbox_subject;

location = /plain {
    return 200 "plain\n";
}

location = /page.html {
    root %%TESTDIR%%;
    ssi on;
}
EOF_SERVER
    directives => {
        lockbox_redis => 'unix:%%TESTDIR%%/fake.sock timeout=60s',
    },
);

begin($t, %conf);

my $access = [ { service => 'mail', methods => [ 'GET', 'POST' ],
                 paths => ['/tenants/acme/mail/'] } ];
my $grant = $t->grant(access => $access);
my $dead = $t->grant(access => $access, live => 0);
my %others = map { $_ => $t->grant(access => $access, sub => $_) }
             qw(anna bert);

my ($worker) = $t->workers;

# before anybody has come
$t->wait_for(sub {
    return $fake->connections('gate') && $fake->connections('admin');
}, undef, 'Redis');

# A worker that answers is done with its start, which ends by closing some.
my $first = $t->http_start('GET', '/plain', keepalive => 1);
$first->response;
my $descriptors = descriptors($worker) - 1;
$first->close;

for my $way (sort keys %WAYS) {
    a_look_up($way, 1);
    a_look_up($way, $CROWD);
    at_the_same_moment($way);
    included($way);
    a_script($way);
    nothing_left($way);
}

half_bodies();
nothing_left('half a body');
slow_bodies();
pipelined();
taking_turns();
refused_bodies();
nothing_left('all of it');

is(($t->workers)[0], $worker, 'all by the same worker');

cut_short();

done_testing;


# Clients

sub crowd {
    my ($count, @request) = @_;

    return map { $t->http_start(@request) } 1 .. $count;
}

sub streams {
    my ($count, @request) = @_;

    my $h2 = Test::Lockbox::Http2->new($t->port(8443));
    my @streams = map { $h2->request(@request) } 1 .. $count;

    return ($h2, @streams);
}

sub reset_connection {
    my ($client) = @_;

    setsockopt $client->socket, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0
        or die "SO_LINGER: $!\n";
    $client->close;
}

# So many records, and no more.
sub recorded {
    my ($count) = @_;

    my @records;

    $t->wait_for(sub {
        push @records, records();
        return @records >= $count;
    }, undef, "$count records");

    return (@records, records());
}

sub statuses {
    my ($field, @records) = @_;

    my %count;
    $count{ $_->{$field} // '' }++ for @records;

    return \%count;
}

sub nothing_left {
    my ($what) = @_;

    my $left;

    $t->wait_for(sub {
        return ($left = descriptors($worker)) <= $descriptors;
    }, undef, 'descriptors to be closed');
    is($left, $descriptors, "$what: no descriptor is left");
}

# Holds the first reply of that kind back, and so all that are behind it.
sub hold {
    my ($match, $name) = @_;

    $fake->forget;
    $fake->rules({ match => $match, times => 1,
                   play => [ [ 'wait', $name ], [ 'reply' ] ] });
}


# Who leaves

# The answers to those who left come before the ones to those who came after.
sub a_look_up {
    my ($way, $count) = @_;

    my $name = "$way, $count waiting for a look-up";
    my $before = $t->upstream_connections;

    hold(qr/^GETEX /, $name);

    my $leave = $WAYS{$way}->($count, 'GET', $MAIL, token => $grant);
    $fake->await(qr/^HGET /, $count);
    $leave->();

    my @records = recorded($count);

    is_deeply([ statuses('event.reason', @records),
                statuses('http.response.status_code', @records),
                statuses('user.id', @records) ],
              [ { not_decided => $count }, { 499 => $count },
                { erin => $count } ], "$name: on record");

    my @stay = map { $t->http_start('GET', $MAIL, token => $_) }
               $dead, $others{anna}, $dead, $others{bert};

    $fake->await(qr/^HGET /, $count + @stay);
    $fake->release($name);

    my @said = map { said($_->response) } @stay;

    is_deeply(\@said, [ '401 not_live', '200 anna', '401 not_live',
                        '200 bert' ], '... and the next have their own');
    is($t->upstream_connections, $before + 2, '... and nobody is let in else');
    is_deeply([ sort map { "$_->{'user.id'} $_->{'event.reason'}" }
                     grep { $_->{'event.type'} eq 'end' } recorded(6) ],
              [ 'anna allow', 'bert allow', ('erin not_live') x 2 ],
              '... nor on record');
}

# What the gate says, or whom the tenant API has heard.
sub said {
    my ($response) = @_;

    return outcome($response) if $response->status != 200;
    return '200 ' . $response->json->{headers}{'x-lockbox-subject'};
}

# A worker that finds both together may let it in or not, but once.
sub at_the_same_moment {
    my ($way) = @_;

    for my $first ('the client', 'Redis') {
        my $name = "$way, $first first";

        hold(qr/^GETEX /, $name);

        my $leave = $WAYS{$way}->(3, 'GET', $MAIL, token => $grant);
        $fake->await(qr/^HGET /, 3);

        my $answer = sub { $fake->release($name); $fake->seen(qr/./) };
        my @both = $first eq 'Redis' ? ($answer, $leave) : ($leave, $answer);
        my $both = sub { $_->() for @both };

        # who resets a stream talks to the worker once more
        $way =~ /streams/ ? $both->() : halted($worker, $both);

        my %ends;
        my $enough = sub {
            $ends{ $_->{'event.id'} } = $_->{'event.reason'}
                for grep { $_->{'event.type'} eq 'end' } records();
            return keys %ends == 3;
        };

        $t->wait_for($enough, undef, 'three outcomes');
        like(join(' ', values %ends), qr/^(?:(?:allow|not_decided) ?){3}$/,
             "$name, at the same moment");
        is(outcome(knock($dead)), '401 not_live', '... which helps nobody');
        records();
    }
}

# The page is nobody's business; what it includes is judged.
sub included {
    my ($way) = @_;

    my $name = "$way, included";

    hold(qr/^GETEX /, $name);

    my $leave = $WAYS{$way}->(2, 'GET', '/page.html', token => $grant);
    $fake->await(qr/^HGET /, 2);
    $leave->();
    $fake->release($name);

    # HTTP/2 goes on with its connection
    $t->wait_for(sub { descriptors($worker) <= $descriptors + 1 }, undef,
                 'the page to end');

    my $page = $t->http('GET', '/page.html', token => $others{anna});
    my @heard = $page->body =~ /"x-lockbox-subject":"(\w+)"/g;

    is("@heard", 'anna anna anna', "$name: the next page has its own parts");

    my %users = %{ statuses('user.id', records()) };

    delete $users{erin};
    is_deeply(\%users, { anna => 6 }, '... on record');
}

# What was sent happens, whoever still wants to know.
sub a_script {
    my ($way) = @_;

    my $name = "$way, waiting for a script";
    my $id = file();
    my @request = ('POST', uri($id, 'approve'), json => { version => 1 },
                   token => token_of('manager'));

    records();
    hold($APPROVE, $name);

    my $leave = $WAYS{$way}->(1, @request);
    $fake->await($APPROVE);
    $leave->();

    is_deeply([ record_words(records()) ], [ 'start approve' ],
              "$name: meant to");

    my $stays = $t->http_start('GET', uri($id), token => token_of('customer'));
    $fake->await($SHOW, 2);
    $fake->release($name);

    is($stays->response->json->{state}, 'awaiting_customer', '... and done');

    my @records = recorded(1);

    is_deeply([ record_words(@records) ], [ 'end approve allow' ],
              '... on record');
    is($records[0]{'user.id'}, 'mona', '... by name');

    # what has other questions before it happens, too
    hold($POLICY, "$name, filing");

    my $leave_filing = $WAYS{$way}->(1, 'POST', $REQUESTS, json => filing(),
                                     token => token_of('engineer'));
    $fake->await($POLICY);
    $leave_filing->();
    $fake->release("$name, filing");

    is_deeply([ record_words(recorded(2)) ],
              [ 'start request', 'end request allow' ], '... and a filing goes on, too');

    hold($SHOW, "$name, many");

    my $all_leave = $WAYS{$way}->($CROWD, 'GET', uri($id),
                                  token => token_of('manager'));
    $fake->await($SHOW, $CROWD);
    $all_leave->();

    my $other = file_quietly($name);

    is($other->json->{ticket}, $name, "$name: $CROWD of them");
    records();
}

# Files a request behind all that is held back: what is asked for first is the
# tenant's policy.
sub file_quietly {
    my ($name) = @_;

    my $client = $t->http_start('POST', $REQUESTS,
                                json => filing(ticket => $name),
                                token => token_of('engineer'));

    $fake->await($POLICY);
    $fake->release("$name, many");

    return $client->response;
}

# Some of a body, and then no more.
sub half_bodies {
    my $engineer = token_of('engineer');

    # where, with what, how far it has come when the client leaves, and what
    # is on record then and afterwards
    my %calls = (
        'a request that is filed' => [ $REQUESTS, $engineer, \&settle,
            [], [ 'end request not_decided' ] ],
        'a request to the tenant API' => [ $MAIL, $grant, sub { },
            [ 'start access' ], [ 'end access allow' ] ],
        'a request that is refused' => [ $MAIL, $dead,
            sub { $_[0]->read_until(qr/not_live/) },
            [], [ 'end access not_live' ] ],
    );

    for my $name (sort keys %calls) {
        my ($path, $token, $reached, $first, $then) = @{ $calls{$name} };
        my %clients = half_a_body($path, $token);
        my $before = $t->upstream_connections;
        my $stored = contents();

        for my $end (sort keys %clients) {
            records();

            my ($client, $leave) = $clients{$end}->();
            my @records = @$first ? recorded(scalar @$first) : ();

            $reached->($client);
            $leave->();
            push @records, recorded(scalar @$then);
            is_deeply([ record_words(@records) ], [ @$first, @$then ],
                      "$name, $end within its body");
        }

        is($t->upstream_connections, $before, '... goes to nobody');
        is_deeply(contents(), $stored, '... and changes nothing');
    }
}

sub half_a_body {
    my ($path, $token) = @_;

    my %options = (token => $token,
                   headers => { 'content-type' => 'application/json' });
    my $bytes = Test::Lockbox::Http::request_bytes('POST', $path, %options,
                                                   body => 'x' x 100);
    my $http1 = sub {
        my ($leave) = @_;

        my $client = $t->http_connect;

        $client->send(substr $bytes, 0, -50);

        return ($client, sub { $leave->($client) });
    };
    my $http2 = sub {
        my ($leave) = @_;

        my $h2 = Test::Lockbox::Http2->new($t->port(8443));
        my $stream = $h2->request('POST', $path, %options, open => 1,
                                  body => 'x' x 50);

        return ($h2, sub { $leave->($h2, $stream) });
    };

    return (
        'closed' => sub { $http1->(sub { $_[0]->close }) },
        'reset' => sub { $http1->(\&reset_connection) },
        'HTTP/2, closed' => sub { $http2->(sub { $_[0]->close }) },
        'HTTP/2, stream reset' => sub {
            $http2->(sub { my ($h2, $stream) = @_; $h2->cancel($stream) });
        },
    );
}


# Who stays

# The worker has seen each byte before the next one is sent.
sub slow_bodies {
    my $plain = $t->http_connect;
    my $see = sub {
        $plain->request('GET', '/plain', keepalive => 1)->response;
    };
    my $slowly = sub {
        my ($client, $bytes) = @_;

        setsockopt $client->socket, IPPROTO_TCP, TCP_NODELAY, 1
            or die "TCP_NODELAY: $!\n";

        for my $byte (split //, $bytes) {
            $client->send($byte);
            $see->();
        }

        return $client->response;
    };
    my $body = JSON::PP->new->utf8->encode(filing());
    my $chunks = join '', map({ "1\r\n$_\r\n" } split //, $body),
                          "0\r\n\r\n";

    my %calls = (
        'a request that is filed' =>
            [ $REQUESTS, token_of('engineer'), 201 ],
        'a request to the tenant API' => [ $MAIL, $grant, 200 ],
    );

    for my $name (sort keys %calls) {
        my ($path, $token, $status) = @{ $calls{$name} };
        my %headers = ('Content-Type' => 'application/json');
        my %forms = (
            whole => { headers => \%headers, body => $body },
            chunked => {
                headers => { %headers, 'Transfer-Encoding' => 'chunked' },
                body => $chunks,
            },
        );

        for my $form (sort keys %forms) {
            my $bytes = Test::Lockbox::Http::request_bytes('POST', $path,
                token => $token, %{ $forms{$form} });
            my $response = $slowly->($t->http_connect, $bytes);

            is($response->status, $status, "$name, byte by byte, $form");
            is($response->json->{body}, $body, '... is passed on')
                if $path eq $MAIL;
        }

        my $h2 = Test::Lockbox::Http2->new($t->port(8443));
        my $stream = $h2->request('POST', $path, token => $token, open => 1,
            headers => { 'content-type' => 'application/json' });

        for my $byte (split //, $body) {
            $h2->data($stream, $byte, 0);
            $h2->sync;
        }

        $h2->data($stream, '');

        my $response = $h2->response($stream);

        is($response->status, $status, "$name, byte by byte, HTTP/2");
        is($response->json->{body}, $body, '... is passed on')
            if $path eq $MAIL;
    }

    $plain->close;
    records();
}

# On one connection, and all there before the first answer.
sub pipelined {
    my @requests = (
        [ $grant, '200 erin' ], [ $dead, '401 not_live' ],
        [ $others{anna}, '200 anna' ], [ undef, '401 no_token' ],
        [ $others{bert}, '200 bert' ], [ 'a.b', '401 malformed_token' ],
        [ $t->grant(tenant => 'globex', sub => 'gus'), '403 wrong_tenant' ],
        [ $others{anna}, '200 anna' ],
    );
    my $before = $t->upstream_connections;

    hold(qr/^GETEX /, 'pipeline');

    my $client = $t->http_connect;
    $client->send(join '', map {
        Test::Lockbox::Http::request_bytes('GET', "$MAIL/$_", keepalive => 1,
                                           token => $requests[$_][0])
    } 0 .. $#requests);
    $fake->await(qr/^HGET /);
    settle();
    is($t->upstream_connections, $before, 'one behind the other');
    $fake->release('pipeline');

    is_deeply([ map { said($client->response) } @requests ],
              [ map { $_->[1] } @requests ], '... each by its own token');
    $client->close;

    my @ends = grep { $_->{'event.type'} eq 'end' } records();

    is_deeply([ map { ($_->{'user.id'} // 'nobody') . " $_->{'url.path'}" }
                    @ends ],
              [ "erin $MAIL/0", "erin $MAIL/1", "anna $MAIL/2",
                "nobody $MAIL/3", "bert $MAIL/4", "nobody $MAIL/5",
                "gus $MAIL/6", "anna $MAIL/7" ], '... on record');

    # those behind one that is never read are never judged
    hold(qr/^GETEX /, 'cut');
    $client = $t->http_connect;
    $client->send(join '', map {
        Test::Lockbox::Http::request_bytes('GET', $MAIL, keepalive => 1,
                                           token => $_)
    } $grant, $others{anna}, $others{bert});
    $fake->await(qr/^HGET /);
    reset_connection($client);
    is_deeply([ record_words(recorded(1)) ], [ 'end access not_decided' ],
              'a pipeline that is cut');
    $fake->release('cut');
    is(outcome(knock($dead)), '401 not_live', '... helps nobody');
    records();
}

sub taking_turns {
    my @ids = map { Test::Lockbox::Conf::uuid7() } 1 .. 2;
    my @names = qw(anna bert);
    my @grants = map {
        $t->grant(id => $ids[$_], sub => $names[$_], access => $access);
    } 0, 1;
    my $client = $t->http_connect;
    my $turn = sub {
        my ($i) = @_;

        $client->request('GET', $MAIL, keepalive => 1, token => $grants[$i]);

        return said($client->response);
    };

    is_deeply([ map { $turn->($_ % 2) } 1 .. 6 ],
              [ ('200 bert', '200 anna') x 3 ],
              'two grants in turn on one connection');

    redis('HSET', request_key($ids[0]), 'state', 'revoked');
    is_deeply([ map { $turn->($_ % 2) } 1 .. 4 ],
              [ ('200 bert', '401 revoked') x 2 ], '... one is revoked');

    $client->request('GET', $MAIL, keepalive => 1);
    is(said($client->response), '401 no_token', '... and none is left behind');
    is($turn->(1), '200 bert', '... nor taken away');
    $client->close;

    my @users = map { $_->{'user.id'} // 'nobody' }
                grep { $_->{'event.type'} eq 'end' } records();

    is("@users", 'bert anna bert anna bert anna bert anna bert anna nobody '
                 . 'bert', '... on record');
}

# What a refused request carries is not the next request.
sub refused_bodies {
    my $inner = Test::Lockbox::Http::request_bytes('GET', $MAIL,
                                                   token => $grant);
    my %bodies = (
        'with its length' => { body => $inner },
        'in chunks' => {
            headers => { 'Transfer-Encoding' => 'chunked' },
            body => sprintf("%x\r\n%s\r\n0\r\n\r\n", length $inner, $inner),
        },
    );

    for my $name (sort keys %bodies) {
        my $before = $t->upstream_connections;
        my $client = $t->http_connect;

        $client->request('POST', $MAIL, keepalive => 1, token => $dead,
                         %{ $bodies{$name} });
        is(said($client->response), '401 not_live',
           "a request in a body $name: refused");
        is_deeply([ record_words(records()) ], [ 'end access not_live' ],
                  '... once');

        $client->request('GET', $MAIL, token => $others{anna});
        is(said($client->response), '200 anna', '... and the next is judged');
        is($t->upstream_connections, $before + 1, '... alone');
        $client->close;
        records();
    }
}


# A worker that may wait no longer leaves itself, and them.  Over HTTP/2 nothing
# but a look-up ends so early; the rest has the limit for replies.
sub cut_short {
    $t->write_conf($t->conf(%conf, main => 'worker_shutdown_timeout 100ms;'));
    $t->reload;

    my ($old) = $t->workers;
    my $show = uri(file());
    my $before = $t->upstream_connections;
    my $h2 = Test::Lockbox::Http2->new($t->port(8443));

    records();
    $fake->forget;
    $fake->rules({ match => qr/^GETEX |$SHOW/,
                   play => [ [ 'wait', 'cut short' ], [ 'reply' ] ] });

    my @clients = (
        $t->http_start('GET', $MAIL, token => $grant),
        $t->http_start('GET', '/page.html', token => $grant),
        $t->http_start('GET', $show, token => token_of('manager')),
    );

    $h2->request('GET', $MAIL, token => $grant);
    $fake->await(qr/^HGET /, 5);
    $fake->await($SHOW);
    $t->reload;
    $t->wait_for(sub { !kill 0, $old }, undef, 'the old worker to end');
    is(join('', map { $_->read_all } @clients), '',
       'a worker that waits no longer answers nobody');
    is($t->upstream_connections, $before, '... and lets nobody in');
    is_deeply(statuses('event.reason', records()), { not_decided => 6 },
              '... on record');

    $fake->release('cut short');
    is(outcome(knock($grant)), '200 ok', '... and another one goes on');
}
