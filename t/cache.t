#!/usr/bin/perl

# Why: what is known need not be asked for again, whoever has asked; but no
# answer that is older than a change may count, whatever the order in which
# workers, questions and answers meet.

use strict;
use warnings;

use Lockbox::Jose qw(key);
use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::FakeRedis;
use Test::Lockbox::Race qw(lanes call $RACE_SERVER);

my $LIVE = "\$4\r\nlive\r\n";
my $APPROVED = "\$8\r\napproved\r\n";

my %DIRECTIVES = (
    lockbox_redis => 'unix:%%TESTDIR%%/fake.sock timeout=60s',
);

my $t = Test::Lockbox->new;
my $fake = Test::Lockbox::FakeRedis->new($t);

begin($t, directives => \%DIRECTIVES);

asked_once();
late_answer();
answer_that_begins();
placeholders();
refused_again();
configured_again();
two_workers();
killed_while_asking();
small_zone();
other_services();
coarse_clock();

done_testing;


# How often Redis was asked since the last call.
sub asked {
    my $count = () = $fake->seen(qr/^GETEX /);

    $fake->forget;

    return $count;
}

# When this returns all workers that there are believe what is cached.
sub trusting {
    my (@lanes) = @_;

    my $grant = $t->grant;

    for my $lane (@lanes ? @lanes : undef) {
        $t->wait_for(sub {
            said($grant, $lane);
            asked();
            said($grant, $lane);
            return asked() == 0;
        }, undef, 'trust');
    }
}

sub said {
    my ($grant, $lane) = @_;

    return outcome(call($lane, 'GET', $MAIL, token => $grant,
                        keepalive => 1)) if $lane;

    # a request that was let in while the change was on its way is cut
    return eval { outcome(knock($grant)) } // 'cut';
}

# Changes the configuration; no worker of the old one is left.
sub anew {
    my (%parts) = @_;

    my @old = $t->workers;

    $parts{directives} = { %DIRECTIVES, %{ $parts{directives} // {} } };
    change_conf(%parts);
    $t->wait_for(sub { !grep { kill 0, $_ } @old }, undef,
                 'the old workers to go');
}

# When this returns the workers have heard that the key has changed.
sub heard {
    my ($id, $workers) = @_;

    $fake->await(qr/^MESSAGE .*$id/, $workers);
    $fake->told('watch');
}

# The answer to a look-up that comes late, as of now.
sub hold {
    my ($name) = @_;

    $fake->forget;
    $fake->rules({ match => qr/^GETEX /, times => 1,
                   play => [ [ 'wait', $name ], $LIVE ] },
                 { match => qr/^HGET /, times => 1, play => [ $APPROVED ] });
}

sub asked_once {
    trusting();

    my $id = Test::Lockbox::Conf::uuid7();
    my $grant = $t->grant(id => $id);

    asked();
    is(said($grant), '200 ok', 'a grant');
    is(asked(), 1, '... is asked for');
    is_deeply([ map { said($grant) } 1 .. 3 ], [ ('200 ok') x 3 ],
              '... and again');
    is(asked(), 0, '... without a question');
    is(outcome($t->http('POST', $MAIL, token => $grant)), '403 wrong_method',
       '... but judged each time');

    # another token of the same grant
    my $same = $t->grant(id => $id);

    is(said($same), '200 ok', 'the same grant in another token');
    asked();
    redis('DEL', live_key($id));
    $t->wait_for(sub { said($same) eq '401 not_live' }, undef, 'the change');
    is(said($grant), '401 not_live', '... and both end together');

    redis('SET', live_key($id), 'live');
    $t->wait_for(sub { said($grant) eq '200 ok' }, undef, 'the key');
    pass('a key that was missing and is there again opens');
    redis('HSET', request_key($id), 'state', 'revoked');
    redis('DEL', live_key($id));
    $t->wait_for(sub { said($grant) eq '401 revoked' }, undef, 'the end');

    redis('DEL', request_key($id));
    redis('SET', live_key($id), 'live');
    heard($id);
    is_deeply([ map { said($grant) } 1 .. 3 ], [ ('401 revoked') x 3 ],
              'what was revoked stays so, whatever Redis says');
    is(said($t->grant(id => $id)), '401 revoked', '... in any token');
}

# Redis has answered before the change, and the answer comes behind it.
sub late_answer {
    my $id = Test::Lockbox::Conf::uuid7();
    my $grant = $t->grant(id => $id);

    trusting();
    hold('late');

    my $client = $t->http_start('GET', $MAIL, token => $grant);

    $fake->await(qr/^HGET .*$id/);
    redis('DEL', live_key($id));
    heard($id);
    $fake->release('late');
    $client->response;

    is(said($grant), '401 not_live', 'a late answer is believed by nobody');
}

# What such an answer lets in is asked for again, and ends.
sub answer_that_begins {
    my $id = Test::Lockbox::Conf::uuid7();
    my $grant = $t->grant(id => $id);

    $t->stop_process($t->{upstream});
    $t->upstream(handler => sub {
        my ($request, $client) = @_;

        syswrite $client, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbegun\n";
        sysread $client, my $bytes, 1;

        return;
    });

    $fake->forget;
    $fake->await(qr/^PING/, 3);
    hold('begins');

    my $client = $t->http_start('GET', $MAIL, token => $grant);

    $fake->await(qr/^HGET .*$id/);
    redis('DEL', live_key($id));
    heard($id);
    $fake->release('begins');

    my $response = eval { $client->response };

    ok(!$response || !$response->complete, 'what a late answer has let in is '
       . 'cut');
    ok($client->was_reset, '... so that everybody sees it');

    $t->stop_process($t->{upstream});
    $t->upstream;
}

# Each asks for itself, and what one was answered is good for all.
sub placeholders {
    my $grant = $t->grant;

    trusting();
    hold('first');

    my $first = $t->http_start('GET', $MAIL, token => $grant);

    $fake->await(qr/^GETEX /);
    asked();

    # on one connection to Redis answers keep their order
    my $second = $t->http_start('GET', $MAIL, token => $grant);

    $fake->await(qr/^GETEX /);
    is(asked(), 1, 'nobody waits for another one\'s answer');
    $fake->release('first');
    is(outcome($_->response), '200 ok', '... both are answered')
        for $first, $second;
    is(said($grant), '200 ok', '... and all is known');
    is(asked(), 0, '... for everybody');

    # a client that leaves leaves its place to others
    $grant = $t->grant;
    hold('leaves');

    my $leaves = $t->http_start('GET', $MAIL, token => $grant);

    $fake->await(qr/^HGET /);
    $leaves->close;
    $t->wait_for(sub { grep { $_->{'event.reason'} eq 'not_decided' }
                       grep { $_->{'event.type'} eq 'end' } records() },
                 undef, 'it to leave');
    $fake->release('leaves');
    is(said($grant), '200 ok', 'a question that nobody waits for any more');
    asked();
    is(said($grant), '200 ok', '... is asked and answered again');
    is(asked(), 0, '... once');
}

# What is not known to be over is asked for again.
sub refused_again {
    my $id = Test::Lockbox::Conf::uuid7();
    my $grant = $t->grant(id => $id, live => 0);

    asked();
    is_deeply([ map { said($grant) } 1 .. 2 ], [ ('401 not_live') x 2 ],
              'a key that is missing');
    is(asked(), 2, '... is asked for each time');

    redis('HSET', request_key($id), 'state', 'completed');
    is_deeply([ map { said($grant) } 1 .. 3 ], [ ('401 completed') x 3 ],
              'a grant that was handed back');
    is(asked(), 1, '... is asked for once');
}


# A reload

sub configured_again {
    my $key = key('RSA2048', 'accepted');

    $t->write_file('accepted.pem', $key->{public_pem});

    my %accepting = (lockbox_accept_key => '%%TESTDIR%%/accepted.pem');

    anew(directives => \%accepting);
    trusting();

    my $ours = $t->grant(life => 3600);
    my $theirs = $t->grant(life => 3600, key => $key);

    is(said($_), '200 ok', 'before a reload') for $ours, $theirs;

    anew(directives => \%accepting);
    asked();
    is(said($_), '200 ok', 'after a reload') for $ours, $theirs;
    is(asked(), 2, '... a new worker asks for itself');

    my $revoked = Test::Lockbox::Conf::uuid7();
    my $grant = $t->grant(id => $revoked, life => 3600);

    redis('HSET', request_key($revoked), 'state', 'revoked');
    is(said($grant), '401 revoked', 'an end');
    redis('DEL', request_key($revoked));

    anew();
    is(said($theirs), '401 unknown_key', 'a key that is accepted no more');
    is(said($ours), '200 ok', '... unlike ours');
    is(said($grant), '401 revoked', '... and an end outlives it all');

    anew(directives => { lockbox_max_duration => '30m' });
    is(said($ours), '401 too_long_lived', 'a limit that is lower now');
    anew(directives => { lockbox_grant_audience => 'other' });
    is(said($ours), '401 wrong_audience', 'another audience');
    anew(directives => { lockbox_grant_issuer => 'https://other.example' });
    is(said($ours), '401 wrong_issuer', 'another issuer');
    anew(directives => { lockbox_zone => '1m' });
    is(said($ours), '200 ok', 'a zone of another size');
    anew();
}


# More than one worker

sub two_workers {
    my %race = (workers => 2, server => $RACE_SERVER);

    anew(%race);

    my @lanes = lanes($t, 2);

    trusting(@lanes);

    my $id = Test::Lockbox::Conf::uuid7();
    my $grant = $t->grant(id => $id);

    asked();
    is(said($grant, $lanes[0]), '200 ok', 'one worker');
    is(asked(), 1, '... asks');
    is(said($grant, $lanes[1]), '200 ok', 'another worker');
    is(asked(), 0, '... knows');

    redis('DEL', live_key($id));
    heard($id, 2);

    for my $i (0, 1) {
        is(said($grant, $lanes[$i]), '401 not_live',
           "worker $i hears of a change");
    }

    # a placeholder of one, and the question of the other
    $grant = $t->grant;
    hold('other');

    my $held = $lanes[0]{connection}->request('GET', $MAIL, token => $grant,
                                              keepalive => 1);

    $fake->await(qr/^HGET /);
    asked();
    is(said($grant, $lanes[1]), '200 ok', 'while one worker waits, another '
       . 'one is answered');
    is(asked(), 1, '... for it has asked itself');
    $fake->release('other');
    is(outcome($held->response), '200 ok', '... and the first one later');
    is(said($grant, $lanes[$_]), '200 ok', '... known to both') for 0, 1;
    is(asked(), 0, '... without a question');

    # the watch of one is made anew, of which the other knows nothing
    $grant = $t->grant;
    is(said($grant, $lanes[0]), '200 ok', 'known again');
    asked();

    my @watches = $fake->connections('watch');

    is(@watches, 2, 'two watches');
    $fake->rules({ match => qr/^PING/, times => 1, play => [ [ 'close' ] ] });
    $fake->await(qr/^SUBSCRIBE /);
    trusting(@lanes);
    asked();

    my @said = map { said($grant, $_) } @lanes, @lanes;

    is("@said", join(' ', ('200 ok') x 4), 'one whose watch is new');
    is(asked(), 1, '... asks, for what is known is older than that');
}

sub killed_while_asking {
    my $grant = $t->grant;

    $t->expect_log(qr/exited on signal 9/);
    anew();
    trusting();
    hold('killed');

    my $client = $t->http_start('GET', $MAIL, token => $grant);
    my ($worker) = $t->workers;

    $fake->await(qr/^HGET /);
    kill 'KILL', $worker;
    $t->wait_for(sub { my ($new) = $t->workers; $new && $new != $worker },
                 undef, 'a new worker');
    $fake->rules;
    trusting();
    is(said($grant), '200 ok', 'what a dead worker has asked');
    asked();
    is(said($grant), '200 ok', '... another one knows');
    is(asked(), 0, '... for good');
}


# Sizes

sub small_zone {
    anew(directives => { lockbox_zone => '64k' });

    my @ids = map { Test::Lockbox::Conf::uuid7() } 1 .. 300;
    my %grants = map { $_ => $t->grant(id => $_) } @ids;
    my @revoked = @ids[grep { $_ % 7 == 0 } 0 .. $#ids];
    my $client = $t->http_connect;
    my $round = sub {
        my %said;

        for my $id (@ids) {
            $client = $t->http_connect if $client->closed;
            $client->request('GET', $MAIL, token => $grants{$id});
            push @{ $said{ outcome($client->response) } }, $id;
            $client = $t->http_connect;
        }

        return \%said;
    };

    is_deeply($round->(), { '200 ok' => \@ids }, 'more grants than there is '
              . 'room for');

    redis('HSET', request_key($_), 'state', 'revoked') for @revoked;
    redis('DEL', map { live_key($_) } @revoked);
    $fake->await(qr/^MESSAGE .*$revoked[-1]/);
    trusting();

    for (1 .. 2) {
        my $said = $round->();

        is_deeply([ sort @{ $said->{'401 revoked'} } ], [ sort @revoked ],
                  '... some are revoked');
        is(@{ $said->{'200 ok'} }, @ids - @revoked, '... the others are not');
    }
}

# A grant that is known is decided on by the items of one service, and refused
# with all of them.
sub other_services {
    my @access = map {
        { service => $_, methods => ['GET'], paths => ["/tenants/acme/$_/"],
          labels => [] }
    } qw(mail files calendar);
    my $grant = $t->grant(access => \@access);

    is(said($grant), '200 ok', 'a grant for several services');

    for my $case (
        [ '/tenants/acme/files/1', 200 ],
        [ '/tenants/acme/calendar/1', 200 ],
        [ '/tenants/acme/chat/1', 403, 'wrong_service' ],
        [ '/tenants/acme/mail/1', 403, 'wrong_method', 'POST' ],
    ) {
        my ($path, $status, $word, $method) = @$case;
        my $response = $t->http($method // 'GET', $path, token => $grant);

        is($response->status, $status, "... known by now: $path");
        next if $status == 200;

        is($response->json->{code}, $word, '... is refused');
        is_deeply($response->json->{granted}{access}, \@access,
                  '... and shown whole');
    }
}

# It stands behind the http block, too; a heartbeat is due eight times a lease.
sub coarse_clock {
    my $conf = $t->conf(directives => { lockbox_lease => '400ms' });
    my ($exit, $output) = $t->nginx_test("$conf\ntimer_resolution 51ms;\n");

    isnt($exit, 0, 'a coarse clock');
    like($output, qr/"timer_resolution" of 51ms is too .* not exceed 50ms/,
         '... is refused by name');

    ($exit, $output) = $t->nginx_test("$conf\ntimer_resolution 50ms;\n");
    is($exit, 0, 'a finer one') or diag($output);
}
